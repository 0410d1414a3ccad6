"""FeINFN written out plainly from its equations: slow, and obviously what the text says.

``weights`` is the state dict of the network that is checked, so both compute with the same numbers. Nothing is shared
with the package but the names of the weights.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F


def conv(weights, name, x, padding=1):
    return F.conv2d(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"), padding=padding)


def count(weights, prefix):
    """How many numbered entries follow ``prefix``."""
    return len({name[len(prefix) :].split(".")[0] for name in weights if name.startswith(prefix)})


def encoder(weights, name, x):
    first = conv(weights, f"{name}.head", x)
    y = first
    for n in range(count(weights, f"{name}.blocks.")):
        hidden = torch.relu(conv(weights, f"{name}.blocks.{n}.conv1", y))
        y = y + conv(weights, f"{name}.blocks.{n}.conv2", hidden)
    return conv(weights, f"{name}.tail", y) + first


def mlp(weights, name, v):
    layers = count(weights, f"{name}.layers.")
    for n in range(layers):
        v = F.linear(v, weights[f"{name}.layers.{n}.weight"], weights[f"{name}.layers.{n}.bias"])
        if n < layers - 1:
            v = torch.relu(v)
    return v


def blend(answers):
    """Softmax over cells of the last channel, times the others."""
    e = torch.stack(answers)
    weight = torch.softmax(e[..., -1:], 0)
    return (weight * e[..., :-1]).sum(0)


def decoder(weights, e_s, e_f):
    """SFID in the complex form of the paper: only the real part of each product goes on."""

    def gabor(i, x):
        w, s = weights[f"decoder.activations.{i}.frequency"], weights[f"decoder.activations.{i}.scale"]
        return torch.exp(1j * w * x - (s * x).abs().square())

    def linear(name, x):
        return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    q = torch.relu(linear("decoder.keys.0", e_s)) * gabor(0, linear("decoder.queries.0", e_f))
    q = q.real
    for i in range(1, count(weights, "decoder.keys.")):
        k = torch.relu(linear(f"decoder.keys.{i}", torch.cat([q, e_s], dim=-1)))
        q = (k * gabor(i, linear(f"decoder.queries.{i}", q))).real
    return linear("decoder.output", q)


def bicubic(hsi, msi):
    return F.interpolate(hsi, size=msi.shape[-2:], mode="bicubic", align_corners=False)


def centres(n, like):
    return (2 * torch.arange(n, dtype=torch.float64, device=like.device) + 1) / n - 1


# --- feinfn ----------------------------------------------------------------------------------------------------------


def neighbours(n_in, n_out):
    """Lower and upper cell of every pixel, from ``u`` in whole numbers, clamped."""
    cells = []
    for i in range(n_out):
        floor = ((2 * i + 1) * n_in - n_out) // (2 * n_out)
        cells.append((min(max(floor, 0), n_in - 1), min(max(floor + 1, 0), n_in - 1)))
    return torch.tensor(cells).reshape(n_out, 2)


def implicit(weights, name, lr_maps, hr):
    """``lr_maps``: list of (B, C, h, w), the first goes before S, the others after it; hr: (B, C, H, W)."""
    batch, _, height, width = hr.shape
    h, w = lr_maps[0].shape[-2:]
    y, x = centres(height, hr), centres(width, hr)
    y_k, x_k = centres(h, hr), centres(w, hr)
    rows, columns = neighbours(h, height), neighbours(w, width)
    s = hr.permute(0, 2, 3, 1)
    answers = []
    for a in range(2):
        for b in range(2):
            ky, kx = rows[:, a], columns[:, b]
            cells = [m[:, :, ky][:, :, :, kx].permute(0, 2, 3, 1) for m in lr_maps]
            delta_y = ((y - y_k[ky]) * h)[:, None].expand(height, width)
            delta_x = ((x - x_k[kx]) * w)[None, :].expand(height, width)
            delta = torch.stack([delta_y, delta_x], dim=-1).to(hr.dtype).expand(batch, height, width, 2)
            answers.append(mlp(weights, name, torch.cat([cells[0], s, *cells[1:], delta], dim=-1)))
    return blend(answers)


def full_plane(x):
    """Orthonormal spectrum of a real map, exactly Hermitian: the right half is the conjugate of the left."""
    h, w = x.shape[-2:]
    half = torch.fft.rfft2(x, norm="ortho")
    columns = []
    for j in range(w):
        if j <= w // 2:
            columns.append(half[..., j])
        else:
            columns.append(torch.conj(half[..., [-r % h for r in range(h)], w - j]))
    return torch.stack(columns, dim=-1)


def phase(spectrum):
    """Angle; bins that are their own conjugate are real, their angle is 0 or +pi."""
    h, w = spectrum.shape[-2:]
    angle = spectrum.angle()
    own = torch.tensor([[(2 * r) % h == 0 and (2 * c) % w == 0 for c in range(w)] for r in range(h)])
    return torch.where(own, angle.abs(), angle)


def synthesis(plane):
    """Orthonormal inverse of a full plane of which only columns 0 to W//2 count: the real image they describe."""
    width = plane.shape[2]
    weight = torch.zeros(width, dtype=plane.dtype)
    weight[: width // 2 + 1] = 2.0
    weight[0] = 1.0
    if width % 2 == 0:
        weight[width // 2] = 1.0
    return torch.fft.ifft2(plane * weight[:, None], dim=(1, 2), norm="ortho").real


def fourier(weights, f, s):
    f_plane, s_plane = full_plane(f), full_plane(s)
    amplitude = implicit(weights, "frequency_fusion.amplitude", [f_plane.abs()], s_plane.abs())
    angle = implicit(weights, "frequency_fusion.phase", [phase(f_plane)], phase(s_plane))
    return synthesis(amplitude * torch.exp(1j * angle))


def laplacian(f):
    kernel = torch.tensor([[0.0, -1, 0], [-1, 4, -1], [0, -1, 0]], dtype=f.dtype)
    padded = F.pad(f, (1, 1, 1, 1), mode="replicate")
    return F.conv2d(padded, kernel.expand(f.shape[1], 1, 3, 3), groups=f.shape[1])


def feinfn(weights, hsi, msi):
    u = bicubic(hsi, msi)
    s = encoder(weights, "spatial_encoder", torch.cat([msi, u], dim=1))
    f = encoder(weights, "spectral_encoder", hsi)
    e_s = implicit(weights, "spatial_fusion", [f, laplacian(f)], s)
    return u + decoder(weights, e_s, fourier(weights, f, s)).permute(0, 3, 1, 2)


# --- feinfn-release --------------------------------------------------------------------------------------------------


def sample(image, coordinates):
    """Nearest-neighbour sampling at (y, x) in [-1, 1], zeros beyond the border: (B, C, h, w) -> (B, H, W, C)."""
    grid = coordinates.flip(-1).expand(image.shape[0], -1, -1, -1)
    return F.grid_sample(image, grid, mode="nearest", padding_mode="zeros", align_corners=False).permute(0, 2, 3, 1)


def pixel_grid(height, width, dtype):
    y = (2 * torch.arange(height, dtype=torch.float64) + 1) / height - 1
    x = (2 * torch.arange(width, dtype=torch.float64) + 1) / width - 1
    return torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1).to(dtype)


def release_cells(lr_maps, height, width):
    """For each of the four cells: the sampled maps and delta before any code."""
    h, w = lr_maps[0].shape[-2:]
    dtype = lr_maps[0].dtype
    here = pixel_grid(height, width, dtype)
    lr_grid = pixel_grid(h, w, dtype).permute(2, 0, 1)[None]
    for dy in (-1, 1):
        for dx in (-1, 1):
            there = here + torch.tensor([dy / h, dx / w], dtype=dtype)
            delta = (here - sample(lr_grid, there)) * torch.tensor([h, w], dtype=dtype)
            yield [sample(m, there) for m in lr_maps], delta.expand(lr_maps[0].shape[0], -1, -1, -1)


def raster_code(height, width, dtype):
    n = torch.arange(4096, dtype=torch.float32)
    table = torch.stack([torch.sin(n), torch.cos(n)])[None].to(dtype)
    code = F.interpolate(table, size=height * width, mode="linear", align_corners=False)
    return code[0].T.reshape(height, width, 2)


def release_implicit(weights, name, lr_maps, hr, code=None):
    s = hr.permute(0, 2, 3, 1)
    answers = []
    for cells, delta in release_cells(lr_maps, *hr.shape[-2:]):
        offset = delta if code is None else delta + code
        answers.append(mlp(weights, name, torch.cat([cells[0], s, *cells[1:], offset], dim=-1)))
    return blend(answers)


def release_phase_stack(weights, name, v):
    batch, height, width, channels = v.shape
    x = v.contiguous().view(batch, channels, height, width)
    layers = count(weights, f"{name}.pointwise.")
    for n in range(layers):
        x = F.conv2d(x, weights[f"{name}.pointwise.{n}.weight"])
        x = F.conv2d(x, weights[f"{name}.depthwise.{n}.weight"], padding=1, groups=x.shape[1])
        if n < layers - 1:
            x = torch.relu(x)
    return x.contiguous().view(batch, height, width, -1)


def release_phase(weights, name, lr, hr):
    s = hr.permute(0, 2, 3, 1)
    answers = []
    for (cell,), delta in release_cells([lr], *hr.shape[-2:]):
        answers.append(release_phase_stack(weights, name, torch.cat([cell, s, delta], dim=-1)))
    return blend(answers)


def release_fourier(weights, f, s):
    f_plane, s_plane = torch.fft.fft2(f), torch.fft.fft2(s)
    amplitude = release_implicit(weights, "frequency_fusion.amplitude", [f_plane.abs()], s_plane.abs())
    angle = release_phase(weights, "frequency_fusion.phase", f_plane.angle(), s_plane.angle())
    plane = torch.complex(amplitude * torch.cos(angle), amplitude * torch.sin(angle))
    return torch.fft.ifft2(plane, dim=(1, 2)).abs()


def mean_passing_filter(f):
    kernel = torch.tensor([[0.0, -1, 0], [-1, 1, -1], [0, -1, 0]], dtype=f.dtype)
    return F.conv2d(f, kernel.expand(f.shape[1], 1, 3, 3), padding=1, groups=f.shape[1])


def release_spatial(weights, f, s):
    code = raster_code(*s.shape[-2:], s.dtype)
    return release_implicit(weights, "spatial_fusion", [f, mean_passing_filter(f)], s, code)


def feinfn_release(weights, hsi, msi):
    u = bicubic(hsi, msi)
    s = encoder(weights, "spatial_encoder", torch.cat([msi, u], dim=1))
    f = encoder(weights, "spectral_encoder", hsi)
    e_s = release_spatial(weights, f, s)
    return u + decoder(weights, e_s, release_fourier(weights, f, s)).permute(0, 3, 1, 2)


# --- the transform by its definition, for checks on tiny maps ---------------------------------------------------------


def dft2(x):
    """Orthonormal two-dimensional Fourier transform of (h, w) as a double sum."""
    h, w = x.shape
    result = torch.zeros(h, w, dtype=torch.complex128)
    for k in range(h):
        for j in range(w):
            for r in range(h):
                for c in range(w):
                    turn = -2 * math.pi * (k * r / h + j * c / w)
                    result[k, j] += x[r, c] * complex(math.cos(turn), math.sin(turn))
    return result / math.sqrt(h * w)


def dft2_complex(x):
    """As :func:`dft2`, of a complex map."""
    return dft2(x.real.double()) + 1j * dft2(x.imag.double())
