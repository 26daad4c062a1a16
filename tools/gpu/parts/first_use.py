"""The first use of the CUDA kernel on every GPU, held to plain PyTorch there and to float64."""

import sys
from pathlib import Path

from tools.gpu.parts.part import gpus
from tools.gpu.record import write_json


def main(result: Path) -> None:
    devices = gpus()
    import torch

    from grokking.kernels.parity import first_use_fault

    found = [
        {"device": torch.cuda.get_device_name(device), "fault": first_use_fault(device)}
        for device in devices
    ]
    write_json(result, {"devices": found})
    for device in found:
        print(f"{device['device']}: {device['fault'] or 'agrees with plain PyTorch'}")
    sys.exit(next((device["fault"] for device in found if device["fault"]), None))
