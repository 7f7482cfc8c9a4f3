"""Arithmetic in bfloat16 on a processor that goes through memory once, on all cores (numba).

Numbers of bfloat16 come and go as the uint16 they are stored as: the upper half of a float32.
"""

from typing import Any

import numba
import numpy as np
import torch

Array = np.ndarray[Any, Any]
number = np.float32
_EXACT = {"contract", "nsz", "arcp"}
"""What the compiler may do to arithmetic: nothing that forgets about NaN."""
numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))  # as many as torch takes


def stored(values: torch.Tensor) -> Array:
    """Numbers of bfloat16 as a flat array of what is stored, uint16; they share their memory."""
    return values.detach().contiguous().view(torch.uint16).view(-1).numpy()


@numba.njit
def _read(bits: np.uint16) -> Any:
    """What a bfloat16 says."""
    return np.uint32(np.uint32(bits) << 16).view(np.float32)


@numba.njit
def _round(value: np.float32) -> Any:
    """The nearest bfloat16, ties to even."""
    bits = np.float32(value).view(np.uint32)
    return np.uint16((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16))


@numba.njit(parallel=True, fastmath=_EXACT | {"reassoc"})
def sum_of_squares(values: Array) -> Any:
    """Of bfloat16 numbers, [n] uint16."""
    total = np.float32(0)
    for i in numba.prange(values.size):
        value = _read(values[i])
        total += value * value
    return total


@numba.njit(parallel=True, fastmath=_EXACT, error_model="numpy")
def adamw(
    weight: Array,
    mean: Array,
    square: Array,
    gradient: Array,
    copy: Array,
    scale: np.float32,
    beta1: np.float32,
    beta2: np.float32,
    kept: np.float32,
    size: np.float32,
    correction: np.float32,
    eps: np.float32,
) -> None:
    """One step of AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101, algorithm 2), in place.

    Args:
        weight: [n] float32.
        mean: first moment, [n] float32.
        square: second moment, [n] float32.
        gradient: bfloat16, [n] uint16.
        copy: what becomes the weight rounded to bfloat16, [n] uint16.
        scale: what the gradient is multiplied by first.
        beta1: share of itself that the first moment keeps.
        beta2: share of itself that the second moment keeps.
        kept: share of itself that the weight keeps (1 - learning rate x weight decay).
        size: learning rate over 1 - beta1^t.
        correction: 1 over the root of 1 - beta2^t.
        eps: added to the root of the second moment.
    """
    one = np.float32(1)
    for i in numba.prange(weight.size):
        slope = _read(gradient[i]) * scale
        first = beta1 * mean[i] + (one - beta1) * slope
        second = beta2 * square[i] + (one - beta2) * slope * slope
        mean[i] = first
        square[i] = second
        moved = np.float32(weight[i] * kept - size * first / (np.sqrt(second) * correction + eps))
        weight[i] = moved
        copy[i] = _round(moved)


@numba.njit(fastmath=_EXACT)
def _exp(x: np.float32) -> Any:
    """e^x for x <= 0, to about 1e-7 of it; below -87, e^-87 (Cephes' expf: a power of two times a polynomial)."""
    x = max(x, np.float32(-87))
    power = np.floor(x * np.float32(1.44269504) + np.float32(0.5))
    rest = x - power * np.float32(0.693359375) + power * np.float32(2.12194440e-4)
    poly = np.float32(1.9875691500e-4)
    poly = poly * rest + np.float32(1.3981999507e-3)
    poly = poly * rest + np.float32(8.3334519073e-3)
    poly = poly * rest + np.float32(4.1665795894e-2)
    poly = poly * rest + np.float32(1.6666665459e-1)
    poly = poly * rest + np.float32(5.0000001201e-1)
    poly = poly * rest * rest + rest + np.float32(1)
    return poly * np.uint32(np.uint32(np.int32(power) + np.int32(127)) << 23).view(np.float32)


@numba.njit
def _highest(row: Array) -> Any:
    """Of bfloat16 numbers; NaN if there is one. As integers they sort as numbers once the negative ones are turned."""
    highest = np.int16(-32768)
    for i in range(row.size):
        bits = np.int16(row[i])
        highest = max(highest, np.int16(bits ^ ((bits >> 15) & np.int16(0x7FFF))))
    return _read(np.uint16(highest ^ ((highest >> 15) & np.int16(0x7FFF))))


@numba.njit(parallel=True, fastmath=_EXACT | {"reassoc"}, error_model="numpy")
def taught(  # noqa: PLR0912
    student: Array,
    teacher: Array,
    scale: Array,
    rows: Array,
    labels: Array,
    share: np.float32,
    temperature: np.float32,
    gradient: Array,
    loss: Array,
) -> None:
    """Cross-entropy and ``τ² KL(teacher ‖ student)`` of each row, and the gradient towards the student's logits.

    Args:
        student: logits, bfloat16, [rows, vocabulary] uint16.
        teacher: logits, bfloat16, [rows, vocabulary] uint16.
        scale: what the KL of each row counts, [rows] float32.
        rows: row of the logits that predict each label, [labels] int64.
        labels: [labels] int64.
        share: what each label counts.
        temperature: τ.
        gradient: written, bfloat16, [rows, vocabulary] uint16.
        loss: written, [rows] float32.
    """
    one = np.float32(1)
    by = one / temperature
    width = student.shape[1]
    for row in numba.prange(student.shape[0]):
        mine, its = student[row], teacher[row]
        top, its_top = _highest(mine), _highest(its)
        total, its_total, apart, plain = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
        for i in range(width):
            moved = (_read(mine[i]) - top) * by
            its_moved = (_read(its[i]) - its_top) * by
            its_power = _exp(its_moved)
            total += _exp(moved)
            its_total += its_power
            apart += its_power * (its_moved - moved)
        counts = scale[row] * temperature
        found = counts * temperature * (apart / its_total - np.log(its_total) + np.log(total))
        asked = np.float32(0)
        for j in range(rows.size):
            if rows[j] == row:
                asked += share
        if asked > 0:
            for i in range(width):
                plain += _exp(_read(mine[i]) - top)
            of_plain = asked / plain
        of_mine, of_its = counts / total, counts / its_total
        if asked > 0:
            for i in range(width):
                value = _read(mine[i]) - top
                slope = _exp(value * by) * of_mine - _exp((_read(its[i]) - its_top) * by) * of_its
                gradient[row, i] = _round(slope + _exp(value) * of_plain)
            for j in range(rows.size):
                if rows[j] == row:
                    at = labels[j]
                    value = _read(mine[at]) - top
                    found += share * (np.log(plain) - value)
                    slope = _exp(value * by) * of_mine - _exp((_read(its[at]) - its_top) * by) * of_its
                    for k in range(rows.size):
                        if rows[k] == row and labels[k] == at:
                            slope -= share
                    gradient[row, at] = _round(slope + _exp(value) * of_plain)
        else:
            for i in range(width):
                slope = _exp((_read(mine[i]) - top) * by) * of_mine - _exp((_read(its[i]) - its_top) * by) * of_its
                gradient[row, i] = _round(slope)
        loss[row] = found
