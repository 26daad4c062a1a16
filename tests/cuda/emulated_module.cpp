// The CUDA functions of the extension over emulated kernels: csrc/bindings_cuda.cpp as it is, for
// CPU addresses. tests/test_cuda_border.py calls it through grokking/kernels/cuda.py.
#include "bindings_cuda.cpp"
#include "grid_cuda.cu"  // with tests/cuda/cuda_runtime.h for CUDA's

PYBIND11_MODULE(emulated_module, module) { bind_cuda(module); }
