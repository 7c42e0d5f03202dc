"""The jobs of `step` in PyTorch, eager and compiled."""

import time
from collections.abc import Callable

import torch
import torch_reference
from step_job import COPY_BYTES, MATMUL_SIDE, Job, Work
from torch.utils.flop_counter import FlopCounterMode


def prepare(job: Job) -> Work:
    """Makes everything a job needs and compiles it."""
    torch.set_num_threads(job.threads)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = job.precision != "fp32"
    torch.set_float32_matmul_precision("highest" if job.precision == "fp32" else "high")
    return {"train": _train, "infer": _infer, "matmul": _matmul, "copy": _copy}[job.work](job)


def gpu_peak(work: Work) -> int:
    """Returns the GPU memory allocated at the highest point of one step."""
    torch.cuda.reset_peak_memory_stats()
    work.run(1)
    return torch.cuda.max_memory_allocated()


def versions() -> dict[str, str]:
    """Returns what the results depend on."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {"torch": torch.__version__, "gpu": gpu}


def _train(job: Job) -> Work:
    began = time.perf_counter()
    batch = _batch(job)
    model = _model(job).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    _wait(job)
    initialised = time.perf_counter()

    def objective(image: torch.Tensor, mask: torch.Tensor, edge: torch.Tensor) -> torch.Tensor:
        return torch_reference.joint_loss(model(image), mask, edge)

    function = _compiled(job, objective)

    def run(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            with _autocast(job):
                loss = function(*batch.values())
            loss.backward()
            optimizer.step()
        _wait(job)

    def resident() -> int:
        tensors = [*model.parameters(), *model.buffers(), *batch.values()]
        tensors += [p.grad for p in model.parameters() if p.grad is not None]
        tensors += [t for state in optimizer.state.values() for t in state.values()]
        return _bytes(tensors)

    facts = {
        "init_s": initialised - began,
        "compile_s": _compile_time(run),
        "flops": _flops(job, lambda: objective(*(x[:1] for x in batch.values())).backward()),
    }
    return Work(run, resident, facts)


def _infer(job: Job) -> Work:
    began = time.perf_counter()
    image = _batch(job)["image"]
    model = _model(job).eval()
    _wait(job)
    initialised = time.perf_counter()
    function = _compiled(job, model.segment)

    @torch.inference_mode()
    def run(steps: int) -> None:
        with _autocast(job):
            for _ in range(steps):
                function(image)
        _wait(job)

    facts = {
        "init_s": initialised - began,
        "compile_s": _compile_time(run),
        "flops": _flops(job, torch.inference_mode()(lambda: model.segment(image[:1]))),
    }
    tensors = [*model.parameters(), *model.buffers(), image]
    return Work(run, lambda: _bytes(tensors), facts)


def _matmul(job: Job) -> Work:
    n = MATMUL_SIDE[job.device]
    dtype = torch.bfloat16 if job.precision == "bf16" else torch.float32
    a = torch.full((n, n), 0.5, dtype=dtype, device=_device(job))
    out = torch.empty_like(a)
    return _ceiling(job, lambda: torch.mm(a, a, out=out), [a, out], {"flops": 2 * n**3})


def _copy(job: Job) -> Work:
    x = torch.ones(COPY_BYTES[job.device] // 4, device=_device(job))
    out = torch.empty_like(x)
    return _ceiling(job, lambda: torch.add(x, 1, out=out), [x, out], {"bytes": 2 * x.nbytes})


def _ceiling(
    job: Job, function: Callable[[], object], tensors: list[torch.Tensor], facts: dict[str, int]
) -> Work:
    def run(steps: int) -> None:
        for _ in range(steps):
            function()
        _wait(job)

    return Work(run, lambda: _bytes(tensors), facts)


def _device(job: Job) -> str:
    return {"cpu": "cpu", "gpu": "cuda"}[job.device]


def _model(job: Job) -> torch_reference.CoSupNet:
    torch.manual_seed(0)
    with torch.device(_device(job)):
        model = torch_reference.CoSupNet(job.width)
    return model.to(memory_format=_memory_format(job))


def _batch(job: Job) -> dict[str, torch.Tensor]:
    """Returns the job's arrays as (B, 1, H, W) float32 on the device."""
    return {
        name: torch.from_numpy(array)
        .permute(0, 3, 1, 2)
        .to(_device(job), torch.float32)
        .contiguous(memory_format=_memory_format(job))
        for name, array in job.arrays().items()
    }


def _memory_format(job: Job) -> torch.memory_format:
    return torch.channels_last if job.layout == "channels_last" else torch.contiguous_format


def _compiled(job: Job, function: Callable) -> Callable:
    return torch.compile(function) if job.framework == "torch.compile" else function


def _autocast(job: Job) -> torch.autocast:
    return torch.autocast(_device(job), torch.bfloat16, enabled=job.precision == "bf16")


def _compile_time(run: Callable[[int], None]) -> float:
    """Returns by how much the first step is longer than the second."""
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        run(1)
        seconds.append(time.perf_counter() - began)
    return max(seconds[0] - seconds[1], 0.0)


def _flops(job: Job, one_slice: Callable[[], object]) -> int:
    """Returns the FLOPs of a step's convolutions and matrix products, from those of one slice."""
    with FlopCounterMode(display=False) as counter:
        one_slice()
    return job.batch * counter.get_total_flops()


def _wait(job: Job) -> None:
    if job.device == "gpu":
        torch.cuda.synchronize()


def _bytes(tensors: list[torch.Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)
