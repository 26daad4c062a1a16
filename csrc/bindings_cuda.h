// Adds the CUDA functions to the module; present only where nvcc built them (GRID_CUDA).
#pragma once

#include <pybind11/pybind11.h>

void bind_cuda(pybind11::module_& module);
