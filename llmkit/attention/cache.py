"""What attention remembers while a text is written."""

from torch import Tensor


class KVCache:
    """Keep the keys and values of one block's attention, so that none is made twice.

    Room for `capacity` positions is set aside once, because growing a tensor by one
    position a token would copy all of it every time. Lesson 06.

    >>> import torch
    >>> cache = KVCache(capacity=8)
    >>> k, v = cache.append(torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 3, 4))
    >>> len(cache), k.shape
    (3, torch.Size([1, 2, 3, 4]))
    """

    def __init__(self, capacity: int):
        self.capacity = capacity
        self.length = 0
        self.keys: Tensor | None = None
        self.values: Tensor | None = None
        self.ids: Tensor | None = None  # (B, n + capacity), see `recall`
        self.memory: tuple[Tensor, Tensor] | None = None  # of what an encoder read

    def __len__(self) -> int:
        return self.length

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add keys and values (B, H, T, K); return all there are, (B, H, S, K).

        Raises: ValueError if more than `capacity` positions would be kept, or they are
        of another batch or model.
        """
        end = self.length + k.size(-2)
        if end > self.capacity:
            raise ValueError(
                f"the cache holds {self.capacity} positions and would need {end}; "
                "start a new cache from the last tokens, as generation.generate does"
            )
        if self.keys is None:
            B, H, _, K = k.shape
            self.keys = k.new_empty(B, H, self.capacity, K)
            self.values = v.new_empty(B, H, self.capacity, K)
        here = self.keys[:, :, self.length : end]
        if here.shape != k.shape:
            raise ValueError(
                f"the cache began with keys of B, H, K = {_but_time(here)}: got "
                f"{_but_time(k)}; use a new cache for other rows or another model"
            )
        self.keys[:, :, self.length : end] = k
        self.values[:, :, self.length : end] = v
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def recall(self, ids: Tensor, n: int, nothing: int) -> Tensor:
        """Keep the next ids (B, T) too; return them behind the n before, (B, n + T).

        For a model that looks back at ids. nothing: what stands before the first.

        Raises: ValueError if ids are of another batch.
        """
        B, T = ids.shape
        if self.ids is None:
            self.ids = ids.new_full((B, n + self.capacity), nothing)
        if len(self.ids) != B:
            raise ValueError(
                f"the cache began with {len(self.ids)} rows: got {B}; use a new cache "
                "for other rows"
            )
        self.ids[:, n + self.length : n + self.length + T] = ids
        # A copy, as later calls write here what a gradient may still need.
        return self.ids[:, self.length : n + self.length + T].clone()

    def rewind(self, length: int) -> None:
        """Forget all but the first `length` positions.

        Raises: ValueError if there are not as many.

        >>> import torch
        >>> cache = KVCache(capacity=8)
        >>> _ = cache.append(torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 3, 4))
        >>> cache.rewind(1)
        >>> len(cache)
        1
        """
        if not 0 <= length <= self.length:
            raise ValueError(
                f"the cache holds {self.length} positions: can't go back to {length}"
            )
        self.length = length


def _but_time(k: Tensor) -> tuple[int, ...]:
    B, H, _, K = k.shape
    return B, H, K
