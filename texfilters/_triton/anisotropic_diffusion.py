"""Anisotropic diffusion: one launch an iteration for the whole batch.

An iteration moves 8 bytes a pixel, and that is its time. The first reads the image in its own dtype, the last one of
each image writes the result in its own dtype, those between go back and forth between two buffers:

    t = 0           1           2           3     ...  niter - 1
    image -> state[0] -> state[1] -> state[0] ->  ...  -> output

A program has LANES lanes, STRIPS x COLUMNS of them, and each walks down ROWS rows of one column. It carries its pixel u,
which was `below` one row earlier, and the flux through the edge above; so a row costs three reads and three fluxes:

          x - 1    x    x + 1
                 (above)           2-D: the strips of a program lie below one another.
    y      left    u    right      3-D: they are successive slices; front and back are read as left and right are.
                 below             Written: u + sum over the axes of weight * (flux to the next - flux from the last)

Past the border the nearest pixel is read: its difference is 0, hence the flux, without any code for borders.
"""

import functools
import itertools

import torch
import triton
import triton.language as tl
from torch import Tensor

from texfilters._triton.pixel_math import conductance, difference_scale, flux, from_compute_dtype
from texfilters.reference import compute_dtype, largest

LANES = 128  # four warps; every lane keeps several reads in flight by itself, and small programs even out the SMs
AHEAD = tl.constexpr(8)
SECTOR = 8  # float32 numbers in 32 bytes, the least that a GPU reads

# No argument makes another variant of the kernel: left and right are unaligned whatever the sizes are, so that each lane
# reads for itself, and a size of 1 or a multiple of 16 gains nothing.
_ARGUMENTS = """
    source source_b source_c source_z source_y source_x state output output_b output_c output_z output_y output_x
    niter kappa weight_z weight_y weight_x C D H W t
""".split()


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
    tile = tl.program_id(0)
    tiles = (W - 1) // COLUMNS + 1
    x = (tile % tiles * COLUMNS + tl.arange(0, COLUMNS)[None, :]).to(OFFSET)
    tile = tile // tiles
    strip = tl.arange(0, STRIPS)[:, None]
    if VOLUME:
        tiles = (H - 1) // ROWS + 1
        y = (tile % tiles * ROWS + 0 * strip).to(OFFSET)
        tile = tile // tiles
        tiles = (D - 1) // STRIPS + 1
        z = (tile % tiles * STRIPS + strip).to(OFFSET)
    else:
        tiles = (H - 1) // (STRIPS * ROWS) + 1
        y = ((tile % tiles * STRIPS + strip) * ROWS).to(OFFSET)
        z = (0 * strip).to(OFFSET)
    lanes = (x, y, z, (x < W) & (z < D), D, H, W)

    b, c = tile // tiles, 0
    if CHANNELS == 1:
        b, c = b // C, b % C
    n = tl.load(niter + b)
    scale = difference_scale(tl.load(kappa + b), OPTION)
    weights = (tl.load(weight_z + b), tl.load(weight_y + b), tl.load(weight_x + b))

    b, H, source_c, output_c = b.to(tl.int64), H.to(tl.int64), source_c.to(tl.int64), output_c.to(tl.int64)
    source += b * source_b + c * source_c
    source_stride = (source_c, source_z, source_y, source_x)
    output += b * output_b + c * output_c
    output_stride = (output_c, output_z, output_y, output_x)
    state += (b * C + c) * D * H * W
    state_stride = (D * H * W, (H * W).to(OFFSET), W, 1)

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
        _coupled_step(source, source_stride, target, target_stride, lanes, scale, weights, OPTION, VOLUME, CHANNELS, ROWS)


@triton.jit
def _channel_step(
    source, source_stride, target, target_stride, lanes, scale, weights,
    OPTION: tl.constexpr, VOLUME: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    dtype: tl.constexpr = scale.dtype
    here, left, right, front, back = _columns(lanes, source_stride)
    column = ()  # rows -1, 0, 1, ..., read ahead
    for i in tl.static_range(AHEAD + 1):
        column += (_read(source, here, _row(lanes, source_stride, i - 1), dtype),)
    flux_above = flux(column[1] - column[0], scale, OPTION)
    for i in tl.static_range(ROWS):
        if i + AHEAD <= ROWS:
            column += (_read(source, here, _row(lanes, source_stride, i + AHEAD), dtype),)
        u = column[i + 1]
        row = _row(lanes, source_stride, i)
        flux_below = flux(column[i + 2] - u, scale, OPTION)
        flux_left = flux(u - _read(source, left, row, dtype), scale, OPTION)
        flux_right = flux(_read(source, right, row, dtype) - u, scale, OPTION)
        new = tl.fma(flux_right - flux_left, weights[2], tl.fma(flux_below - flux_above, weights[1], u))
        if VOLUME:
            flux_front = flux(u - _read(source, front, row, dtype), scale, OPTION)
            flux_back = flux(_read(source, back, row, dtype) - u, scale, OPTION)
            new = tl.fma(flux_back - flux_front, weights[0], new)
        _write(target, target_stride, lanes, i, from_compute_dtype(new, target.dtype.element_ty))
        flux_above = flux_below


@triton.jit
def _coupled_step(
    source, source_stride, target, target_stride, lanes, scale, weights,
    OPTION: tl.constexpr, VOLUME: tl.constexpr, CHANNELS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """All channels: first the conductances around a row, then the fluxes, whose reads find the cache filled."""
    dtype: tl.constexpr = scale.dtype
    x, y, z, inside, D, H, W = lanes
    channel = source_stride[0]
    here, left, right, front, back = _columns(lanes, source_stride)
    above, row = _row(lanes, source_stride, -1), _row(lanes, source_stride, 0)
    g_above = _shared_conductance(source, channel, here, above, here, row, y > 0, scale, OPTION, CHANNELS)
    for i in range(ROWS):
        below = _row(lanes, source_stride, i + 1)
        g_below = _shared_conductance(source, channel, here, row, here, below, y + i < H - 1, scale, OPTION, CHANNELS)
        g_left = _shared_conductance(source, channel, left, row, here, row, x > 0, scale, OPTION, CHANNELS)
        g_right = _shared_conductance(source, channel, here, row, right, row, x < W - 1, scale, OPTION, CHANNELS)
        if VOLUME:
            g_front = _shared_conductance(source, channel, front, row, here, row, z > 0, scale, OPTION, CHANNELS)
            g_back = _shared_conductance(source, channel, here, row, back, row, z < D - 1, scale, OPTION, CHANNELS)
        for c in range(CHANNELS):
            plane = source + c * channel
            u = _read(plane, here, row, dtype)
            flux_above = g_above * (u - _read(plane, here, above, dtype))
            flux_below = g_below * (_read(plane, here, below, dtype) - u)
            flux_left = g_left * (u - _read(plane, left, row, dtype))
            flux_right = g_right * (_read(plane, right, row, dtype) - u)
            new = tl.fma(flux_right - flux_left, weights[2], tl.fma(flux_below - flux_above, weights[1], u))
            if VOLUME:
                flux_front = g_front * (u - _read(plane, front, row, dtype))
                flux_back = g_back * (_read(plane, back, row, dtype) - u)
                new = tl.fma(flux_back - flux_front, weights[0], new)
            new = from_compute_dtype(new, target.dtype.element_ty)
            _write(target + c * target_stride[0], target_stride, lanes, i, new)
        above, row, g_above = row, below, g_below


@triton.jit
def _shared_conductance(
    source, channel, column, row, next_column, next_row, is_edge, scale, OPTION: tl.constexpr, CHANNELS: tl.constexpr
):
    """Between two pixels, for all their channels: from the sum of the squared differences."""
    square = tl.zeros_like(column + row).to(scale.dtype)
    for c in range(CHANNELS):
        plane = source + c * channel
        difference = _read(plane, next_column, next_row, scale.dtype) - _read(plane, column, row, scale.dtype)
        square += (difference * scale) * (difference * scale)
    # Past the border an infinite pixel would differ from itself by NaN, and take the other channels along.
    return conductance(tl.where(is_edge, square, 0.0), OPTION)


@triton.jit
def _copy(source, source_stride, target, target_stride, lanes, CHANNELS: tl.constexpr, ROWS: tl.constexpr):
    here, _, _, _, _ = _columns(lanes, source_stride)
    for c in range(CHANNELS):
        for i in range(ROWS):
            u = tl.load(source + c * source_stride[0] + here + _row(lanes, source_stride, i))
            _write(target + c * target_stride[0], target_stride, lanes, i, u)


@triton.jit
def _columns(lanes, stride):
    """Offsets within a channel of the lanes' columns and of those around them; past the border, of the nearest."""
    x, y, z, inside, D, H, W = lanes
    x, z = tl.minimum(x, W - 1), tl.minimum(z, D - 1)
    left, right = tl.maximum(x - 1, 0) * stride[3], tl.minimum(x + 1, W - 1) * stride[3]
    front, back = tl.maximum(z - 1, 0) * stride[1], tl.minimum(z + 1, D - 1) * stride[1]
    x, z = x * stride[3], z * stride[1]
    return x + z, left + z, right + z, x + front, x + back


@triton.jit
def _row(lanes, stride, i):
    """Offset of row i of each lane, counted from its first; past the border, of the nearest."""
    x, y, z, inside, D, H, W = lanes
    return tl.maximum(tl.minimum(y + i, H - 1), 0) * stride[2]


@triton.jit
def _read(channel, column, row, dtype: tl.constexpr):
    return tl.load(channel + column + row).to(dtype)  # added in this order: channel + column serves all rows


@triton.jit
def _write(channel, stride, lanes, i, u):
    x, y, z, inside, D, H, W = lanes
    place = channel + (x * stride[3] + z * stride[1]) + (y + i) * stride[2]
    tl.store(place, u, mask=inside & (y + i < H))


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
        channels = image.shape[-ndim - 1] if image.ndim > ndim else 1
        shape = (-1, channels, *[1] * (3 - ndim), *image.shape[-ndim:])
        # Views, unless the image has more dimensions than [B, C, ...] and strides by which they do not merge: then copies.
        source, target = image.reshape(shape), output.reshape(shape)
        if steps == 0 or source[0, 0].numel() == 1:  # a plane of one pixel has no edges
            return output.copy_(image)
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

    niter, kappa = (_one_an_image(p, source, d) for p, d in ((niter, torch.int32), (kappa, dtype)))
    weights = {s: _one_an_image(gamma.to(dtype) / s, source, dtype) for s in set(spacing)}
    weight_z, weight_y, weight_x = (weights[s] for s in (spacing[0], *spacing)[-3:])

    volume = len(spacing) == 3
    channels = C if coupled else 1
    planes = B * C // channels
    strips, rows, columns, tiles = _tiling(planes, D, H, W, volume)
    # Pixels of one channel lie at most this far apart.
    reach = max(sum((n - 1) * s for n, s in zip(t.shape[2:], t.stride()[2:])) for t in (source, output, *states[:1]))
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
            OFFSET=tl.int32 if reach < 2**31 else tl.int64,
            num_warps=LANES // 32,
            # Fused, the flux of an edge would be rounded on one side only: the two sides would differ, and the mean drift.
            enable_fp_fusion=False,
        )  # fmt: skip


def _one_an_image(parameter: Tensor, image: Tensor, dtype: torch.dtype) -> Tensor:
    """[B] on the image's device, without waiting for it."""
    parameter = parameter.to(dtype)
    if parameter.device == image.device:
        return parameter.expand(len(image)).contiguous()
    if parameter.ndim == 0:
        return torch.full((len(image),), parameter.item(), dtype=dtype, device=image.device)
    # A copy of our own, since the caller may write to his before the device has read it.
    pinned = torch.empty(parameter.shape, dtype=dtype, pin_memory=True).copy_(parameter)
    return pinned.to(image.device, non_blocking=True)


@functools.lru_cache
def _tiling(planes: int, D: int, H: int, W: int, volume: bool) -> tuple[int, int, int, int]:
    """STRIPS, ROWS, COLUMNS, and the number of such tiles in a plane: the fastest by count of what is read and done.

    Wide tiles read fewer pixels around them, tall ones spread the cost of their start, small ones overhang less and
    occupy more of the GPU when there is little to do.
    """
    choices = []
    for columns, rows in itertools.product((128, 64, 32), (32, 8)):  # few, since each is compiled for itself
        strips = LANES // columns
        depth, height = (strips, rows) if volume else (1, strips * rows)
        tiles = triton.cdiv(D, depth) * triton.cdiv(H, height) * triton.cdiv(W, columns)
        surplus = (1 + 2 * SECTOR / columns) * (1 + 2 / depth if volume else 1)
        choices.append((max(planes * tiles, RESIDENT) * (rows + START) * surplus, strips, rows, columns, tiles))
    return min(choices)[1:]
