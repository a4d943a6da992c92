"""Anisotropic diffusion: one launch an iteration for the whole batch.

An iteration moves 8 bytes a pixel, and that is its time. The first reads the image in its own dtype, the last one of
each image writes the result in its own dtype, those between go back and forth between two buffers:

    t = 0           1           2           3     ...  niter - 1
    image -> state[0] -> state[1] -> state[0] ->  ...  -> output

A program has STRIPS x COLUMNS lanes, each of which walks down ROWS rows of one column. It carries the flux through the
edge above its pixel u and has read the column AHEAD rows further already; so a row costs three reads and three fluxes:

          x - 1    x    x + 1
                   .                2-D: the strips of a program lie below one another.
    y      left    u    right       3-D: they are successive slices; front and back are read as left and right are.
                 below
                   :                Written: u + weight * (flux to the next pixel - flux from the last), over the axes.
    y + AHEAD    just read

Past the border the nearest pixel is read: its difference is 0, hence the flux, without any code for borders.
"""

import functools
import itertools
import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from texfilters._triton.images import LANES, one_an_image
from texfilters._triton.pixel_math import conductance, difference_scale, flux, from_compute_dtype
from texfilters.reference import compute_dtype, largest, positive_or_nan

TILES = tuple(itertools.product((128, 64, 32), (32, 8)))  # COLUMNS, ROWS: few, since each is compiled for itself
# Reads are never moved past writes by the compiler, so they are issued early by hand: about 20 kB in flight an SM.
AHEAD = tl.constexpr(4)
SECTOR = 8  # float32 numbers in 32 bytes, the least that a GPU reads
START = 8  # what a program does before its first row and past its last, in rows, by count of instructions
RESIDENT = 1024  # programs that a large GPU holds at once

# None of them makes another variant of the kernel: left and right are unaligned whatever the sizes are, so that each
# lane reads for itself, and knowing a size to be 1 or a multiple of 16 gains nothing.
_ARGUMENTS = [
    *("source", "source_b", "source_c", "source_z", "source_y", "source_x", "state"),
    *("output", "output_b", "output_c", "output_z", "output_y", "output_x"),
    *("niter", "kappa", "weight_z", "weight_y", "weight_x", "C", "D", "H", "W", "t"),
]


@triton.jit(do_not_specialize=_ARGUMENTS, do_not_specialize_on_alignment=_ARGUMENTS)
def diffusion_kernel(
    source, source_b, source_c, source_z, source_y, source_x,
    state,
    output, output_b, output_c, output_z, output_y, output_x,
    niter, kappa, weight_z, weight_y, weight_x,  # each [B]
    C, D, H, W,
    t,
    OPTION: tl.constexpr, VOLUME: tl.constexpr,
    CHANNELS: tl.constexpr,  # that a program works on: C where they are coupled, else 1
    STRIPS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    OFFSET: tl.constexpr,  # the integers that places within a channel are counted in
):  # fmt: skip
    """Iteration t of the images that still take part in it; at t = 0 also the copy of those that never do."""
    lane = tl.arange(0, STRIPS * COLUMNS).to(OFFSET)
    strip = lane // COLUMNS
    tile = tl.program_id(0)
    tiles = (W - 1) // COLUMNS + 1
    x = tile % tiles * COLUMNS + lane % COLUMNS
    tile = tile // tiles
    if VOLUME:
        tiles = (H - 1) // ROWS + 1
        y = tile % tiles * ROWS + 0 * strip
        tile = tile // tiles
        tiles = (D - 1) // STRIPS + 1
        z = tile % tiles * STRIPS + strip
    else:
        tiles = (H - 1) // (STRIPS * ROWS) + 1
        y = (tile % tiles * STRIPS + strip) * ROWS
        z = 0 * strip
    height = tl.where((x < W) & (z < D), tl.minimum(H - y, ROWS), 0)  # rows that a lane writes
    lanes = (x, y, z, height, D, H, W)

    b, c = tile // tiles, 0
    if CHANNELS == 1:
        b, c = b // C, b % C
    n = tl.maximum(tl.load(niter + b), 0)
    scale = difference_scale(tl.load(kappa + b), OPTION)
    weights = (tl.load(weight_z + b), tl.load(weight_y + b), tl.load(weight_x + b))

    b, c, D, H = b.to(tl.int64), tl.cast(c, tl.int64), D.to(tl.int64), H.to(tl.int64)
    source += b * source_b + c * source_c
    output += b * output_b + c * output_c
    state += (b * C + c) * (D * H * W)
    source_stride = (source_c.to(tl.int64), source_z.to(OFFSET), source_y.to(OFFSET), source_x.to(OFFSET))
    output_stride = (output_c.to(tl.int64), output_z.to(OFFSET), output_y.to(OFFSET), output_x.to(OFFSET))
    state_stride = (D * H * W, (H * W).to(OFFSET), W.to(OFFSET), 1)

    if t < n - 1:
        _step(source, source_stride, state, state_stride, lanes, scale, weights, OPTION, VOLUME, CHANNELS, ROWS)
    elif t < n:
        _step(source, source_stride, output, output_stride, lanes, scale, weights, OPTION, VOLUME, CHANNELS, ROWS)
    elif t == 0:
        _copy(source, source_stride, output, output_stride, lanes, CHANNELS, ROWS)


@triton.jit
def _step(
    source, source_stride, target, target_stride, lanes, scale, weights,
    OPTION: tl.constexpr, VOLUME: tl.constexpr, CHANNELS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    if CHANNELS == 1:
        _channel_step(source, source_stride, target, target_stride, lanes, scale, weights, OPTION, VOLUME, ROWS)
    else:
        _coupled_step(
            source, source_stride, target, target_stride, lanes, scale, weights, OPTION, VOLUME, CHANNELS, ROWS
        )


@triton.jit
def _channel_step(
    source, source_stride, target, target_stride, lanes, scale, weights,
    OPTION: tl.constexpr, VOLUME: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    dtype: tl.constexpr = scale.dtype
    _, y, _, height, _, H, _ = lanes
    here, left, right, front, back = _columns(lanes, source_stride)
    place = _place(target, target_stride, lanes)
    row_stride = source_stride[2]
    rows, column = (), ()  # of the next AHEAD pixels: their offsets and values
    for i in tl.static_range(AHEAD):
        rows += (_row(y + i, H, row_stride),)
        column += (_read(source, here, rows[i], dtype),)
    above = _read(source, here, _row(y - 1, H, row_stride), dtype)
    flux_above = flux(column[0] - above, scale, OPTION)
    for _ in range(0, ROWS, AHEAD):
        for i in tl.static_range(AHEAD):
            rows += (_row(y + (i + AHEAD), H, row_stride),)
            column += (_read(source, here, rows[i + AHEAD], dtype),)
            u = column[i]
            flux_below = flux(column[i + 1] - u, scale, OPTION)
            flux_left = flux(u - _read(source, left, rows[i], dtype), scale, OPTION)
            flux_right = flux(_read(source, right, rows[i], dtype) - u, scale, OPTION)
            new = tl.fma(flux_right - flux_left, weights[2], tl.fma(flux_below - flux_above, weights[1], u))
            if VOLUME:
                flux_front = flux(u - _read(source, front, rows[i], dtype), scale, OPTION)
                flux_back = flux(_read(source, back, rows[i], dtype) - u, scale, OPTION)
                new = tl.fma(flux_back - flux_front, weights[0], new)
            tl.store(place + i * target_stride[2], from_compute_dtype(new, target.dtype.element_ty), mask=i < height)
            flux_above = flux_below
        rows, column = rows[AHEAD:], column[AHEAD:]
        y += AHEAD
        height -= AHEAD
        place += AHEAD * target_stride[2]


@triton.jit
def _coupled_step(
    source, source_stride, target, target_stride, lanes, scale, weights,
    OPTION: tl.constexpr, VOLUME: tl.constexpr, CHANNELS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """All channels: first the conductances around a row, then the fluxes, whose reads find the cache filled."""
    x, y, z, height, D, H, W = lanes
    columns = _columns(lanes, source_stride)
    place = _place(target, target_stride, lanes)
    channel, _, row_stride, _ = source_stride
    above, u = columns[0] + _row(y - 1, H, row_stride), columns[0] + _row(y, H, row_stride)
    g_above = _shared_conductance(source, channel, above, u, y > 0, scale, OPTION, CHANNELS)
    for _ in range(ROWS):
        row = _row(y, H, row_stride)
        left, right, front, back = columns[1] + row, columns[2] + row, columns[3] + row, columns[4] + row
        below = columns[0] + _row(y + 1, H, row_stride)
        g_below = _shared_conductance(source, channel, u, below, y < H - 1, scale, OPTION, CHANNELS)
        g_left = _shared_conductance(source, channel, left, u, x > 0, scale, OPTION, CHANNELS)
        g_right = _shared_conductance(source, channel, u, right, x < W - 1, scale, OPTION, CHANNELS)
        if VOLUME:
            g_front = _shared_conductance(source, channel, front, u, z > 0, scale, OPTION, CHANNELS)
            g_back = _shared_conductance(source, channel, u, back, z < D - 1, scale, OPTION, CHANNELS)
        for c in range(CHANNELS):
            plane = source + c * channel
            flux_x = g_right * _difference(plane, u, right, scale) - g_left * _difference(plane, left, u, scale)
            flux_y = g_below * _difference(plane, u, below, scale) - g_above * _difference(plane, above, u, scale)
            new = tl.load(plane + u).to(scale.dtype)
            new = tl.fma(flux_x, weights[2], tl.fma(flux_y, weights[1], new))
            if VOLUME:
                flux_z = g_back * _difference(plane, u, back, scale) - g_front * _difference(plane, front, u, scale)
                new = tl.fma(flux_z, weights[0], new)
            tl.store(place + c * target_stride[0], from_compute_dtype(new, target.dtype.element_ty), mask=height > 0)
        above, u, g_above = u, below, g_below
        y += 1
        height -= 1
        place += target_stride[2]


@triton.jit
def _shared_conductance(source, channel, first, second, is_edge, scale, OPTION: tl.constexpr, CHANNELS: tl.constexpr):
    """Between two pixels, for all their channels: from the sum of the squared differences."""
    square = tl.zeros_like(first).to(scale.dtype)
    for c in range(CHANNELS):
        scaled = _difference(source + c * channel, first, second, scale) * scale
        square += scaled * scaled
    # Past the border an infinite pixel would differ from itself by NaN, and take the other channels along.
    return conductance(tl.where(is_edge, square, 0.0), OPTION)


@triton.jit
def _difference(plane, first, second, scale):
    return tl.load(plane + second).to(scale.dtype) - tl.load(plane + first).to(scale.dtype)


@triton.jit
def _copy(source, source_stride, target, target_stride, lanes, CHANNELS: tl.constexpr, ROWS: tl.constexpr):
    _, _, _, height, _, H, _ = lanes
    source, target = _place(source, source_stride, lanes), _place(target, target_stride, lanes)
    i = tl.full((), 0, tl.int32)
    while i < tl.minimum(H, ROWS):  # a number of rows known when compiled would be unrolled and take all the registers
        for c in range(CHANNELS):
            u = tl.load(source + c * source_stride[0] + i * source_stride[2], mask=i < height)
            tl.store(target + c * target_stride[0] + i * target_stride[2], u, mask=i < height)
        i += 1


@triton.jit
def _place(channel, stride, lanes):
    """Where each lane begins."""
    x, y, z, _, _, _, _ = lanes
    return channel + (x * stride[3] + y * stride[2] + z * stride[1])


@triton.jit
def _columns(lanes, stride):
    """Offsets within a channel of the lanes' columns and of those around them; past the border, of the nearest."""
    x, _, z, _, D, _, W = lanes
    x, z = tl.minimum(x, W - 1), tl.minimum(z, D - 1)
    left, right = tl.maximum(x - 1, 0) * stride[3], tl.minimum(x + 1, W - 1) * stride[3]
    front, back = tl.maximum(z - 1, 0) * stride[1], tl.minimum(z + 1, D - 1) * stride[1]
    x, z = x * stride[3], z * stride[1]
    return x + z, left + z, right + z, x + front, x + back


@triton.jit
def _row(y, H, stride):
    return tl.maximum(tl.minimum(y, H - 1), 0) * stride


@triton.jit
def _read(channel, column, row, dtype: tl.constexpr):
    return tl.load(channel + column + row).to(dtype)  # added in this order: channel + column serves all rows


def anisotropic_diffusion(
    image: Tensor,  # [..., H, W], ndim=3: [..., D, H, W]
    niter: Tensor,  # [] or [B]
    kappa: Tensor,  # [] or [B]
    gamma: Tensor,  # [] or [B]
    option: int,
    coupling: str,
    spacing: list[float],  # [ndim]
    ndim: int,
) -> Tensor:
    """`functional.anisotropic_diffusion` for checked arguments, on the image's device and its current stream."""
    output = torch.empty_like(image)
    if image.numel() == 0:
        return output
    with torch.cuda.device_of(image):
        if niter.is_cuda and torch.cuda.is_current_stream_capturing():
            raise RuntimeError(
                "niter must be on the CPU while a CUDA graph is captured: on a device it has to be waited for and read"
            )
        steps = largest(niter)
        if steps == 0 or math.prod(image.shape[-ndim:]) == 1:  # no iterations, or planes without any edge
            return output.copy_(image)
        channels = image.shape[-ndim - 1] if image.ndim > ndim else 1
        shape = (-1, channels, *[1] * (3 - ndim), *image.shape[-ndim:])
        # Views; copies only for an image of more dimensions than [B, C, ...] whose strides forbid to merge them.
        source, target = image.reshape(shape), output.reshape(shape)
        _iterate(source, target, steps, niter, kappa, gamma, option, coupling == "l2", spacing)
        if target.untyped_storage().data_ptr() != output.untyped_storage().data_ptr():
            output.copy_(target.view_as(output))
    return output


def _iterate(
    source: Tensor,  # [B, C, D, H, W]
    output: Tensor,  # [B, C, D, H, W]
    steps: int,  # the largest niter
    niter: Tensor, kappa: Tensor, gamma: Tensor, option: int, coupled: bool, spacing: list[float],
) -> None:  # fmt: skip
    B, C, D, H, W = source.shape
    dtype = compute_dtype(source.dtype)
    states = [source.new_empty(source.shape, dtype=dtype) for _ in range(min(steps - 1, 2))]

    niter, kappa = (one_an_image(p, source, d) for p, d in ((niter, torch.int32), (kappa, dtype)))
    gamma = positive_or_nan(gamma).to(dtype)
    weights = {s: one_an_image(gamma / s, source, dtype) for s in set(spacing)}
    weight_z, weight_y, weight_x = (weights[s] for s in (spacing[0], *spacing)[-3:])

    volume = len(spacing) == 3
    channels = C if coupled else 1
    planes = B * C // channels
    strips, rows, columns, tiles = _tiling(planes, D, H, W, volume)
    # How far apart two pixels of a channel lie; the states are no wider than the output. Tiles may overhang.
    reach = max((D - 1) * z + (H - 1) * y + (W - 1) * x for *_, z, y, x in (source.stride(), output.stride()))
    offset = tl.int32 if reach + LANES * rows < 2**31 else tl.int64
    for t in range(steps):
        read = states[(t - 1) % 2] if t else source
        diffusion_kernel[(planes * tiles,)](
            read, *read.stride(),
            states[t % len(states)] if states else output,  # nothing is written there when t is the last iteration
            output, *output.stride(),
            niter, kappa, weight_z, weight_y, weight_x,
            C, D, H, W,
            t,
            OPTION=option, VOLUME=volume, CHANNELS=channels,
            STRIPS=strips, ROWS=rows, COLUMNS=columns,
            OFFSET=offset,
            num_warps=LANES // 32,
            # Fused, a flux would be rounded for one end of its edge and not for the other, and the mean would drift.
            enable_fp_fusion=False,
        )  # fmt: skip


@functools.lru_cache
def _tiling(planes: int, D: int, H: int, W: int, volume: bool) -> tuple[int, int, int, int]:
    """STRIPS, ROWS, COLUMNS, and the number of such tiles in a plane: the fastest by count of what is read and done.

    Wide tiles read fewer pixels around them, tall ones spread the cost of their start, small ones overhang less and
    occupy more of the GPU when there is little to do.
    """
    choices = []
    for columns, rows in TILES:
        strips = LANES // columns
        depth, height = (strips, rows) if volume else (1, strips * rows)
        tiles = triton.cdiv(D, depth) * triton.cdiv(H, height) * triton.cdiv(W, columns)
        surplus = (1 + 2 * SECTOR / columns) * (1 + 2 / depth if volume else 1)
        choices.append((max(planes * tiles, RESIDENT) * (rows + START) * surplus, strips, rows, columns, tiles))
    return min(choices)[1:]
