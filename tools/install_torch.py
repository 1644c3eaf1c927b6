"""Install the torch of constraints.txt in the build that suits this machine: CPU where there is no NVIDIA GPU.

On Linux the default index serves the CUDA build, about 3 GB. This asks pip what it would install, and only where that
is CUDA without a GPU to use it, lets uv choose (`--torch-backend`), which knows PyTorch's own CPU builds.
Usage: python tools/install_torch.py   (with the virtual environment's Python)
"""

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

CONSTRAINTS = Path(__file__).parent.parent / "constraints.txt"
CUDA_PACKAGES = ("nvidia-", "nvidia_", "cuda-")


def pinned_torch() -> str:
    return next(line for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines() if line.startswith("torch=="))


def has_gpu() -> bool:
    return shutil.which("nvidia-smi") is not None and subprocess.run(["nvidia-smi", "-L"], capture_output=True,
                                                                     check=False).returncode == 0


def brings_cuda(requirement: str) -> bool:
    """Whether pip, as configured here, would install CUDA packages with `requirement`; nothing is installed."""
    report = subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--report", "-",
                             requirement], stdout=subprocess.PIPE, text=True, check=True).stdout
    names = [package["metadata"]["name"].lower() for package in json.loads(report)["install"]]
    return any(name.startswith(CUDA_PACKAGES) for name in names)


def main() -> None:
    requirement = pinned_torch()
    if find_spec("torch"):
        return  # whatever build is there was chosen by the user
    if has_gpu() or not brings_cuda(requirement):
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", requirement], check=True)
        return
    print("no NVIDIA GPU here: taking PyTorch's CPU build")
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "uv"], check=True)
    subprocess.run([sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable,
                    "--torch-backend", "cpu", requirement], check=True)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"could not install torch ({error}); install a build for your machine into .venv as "
                 "pytorch.org/get-started/locally shows, then run make again")
