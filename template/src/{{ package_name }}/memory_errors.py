"""Out of memory: how it looks, how memory is given back, and which batch is tried next."""

import gc


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that there is no memory left, on a GPU or for the CPU."""
    import torch
    from accelerate.utils.memory import should_reduce_batch_size

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # accelerate knows the texts of Linux and of the GPUs; on Windows and macOS the allocator of
    # the CPU says "not enough memory", and cuBLAS fails to get its workspace in its own words.
    texts = ("DefaultCPUAllocator: not enough memory", "CUBLAS_STATUS_ALLOC_FAILED")
    is_known = isinstance(error, Exception) and should_reduce_batch_size(error)
    return is_known or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in texts)
    )


def free_memory() -> None:
    """Give back what nothing refers to any more."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def smaller_batch(micro: int, accumulation: int, smallest: int) -> tuple[int, int] | None:
    """Return the next smaller micro batch and its accumulation, with the same product.

    Args:
        micro: examples that are held at once, now.
        accumulation: micro batches behind a step, now.
        smallest: micro batch that the objective can learn from.

    Returns:
        Half and double where that comes out even; else the largest divisor of the product below.
        None: the micro batch is as small as it can be.
    """
    whole = micro * accumulation
    for size in range(micro // 2, smallest - 1, -1):
        if whole % size == 0:
            return size, whole // size
    return None
