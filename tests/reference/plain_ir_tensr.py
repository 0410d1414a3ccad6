"""IR-TenSR written from its equations: dense matrices, block-circulant products, loops over slices and patches."""

import numpy as np

from hyperfuse.methods.tensor.patches import cluster


def t_product(first, second):
    """(a, b, n) times (b, c, n): circular convolution of frontal slices."""
    n = first.shape[2]
    return np.stack([sum(first[:, :, (k - j) % n] @ second[:, :, j] for j in range(n)) for k in range(n)], axis=2)


def t_transposed(tensor):
    """Frontal slices transposed, all but the first in reverse order."""
    turned = tensor.transpose(1, 0, 2)
    return np.concatenate([turned[:, :, :1], turned[:, :, :0:-1]], axis=2)


def t_identity(size, n):
    identity = np.zeros((size, size, n))
    identity[:, :, 0] = np.eye(size)
    return identity


def polar(tensor):
    """The orthogonal tensor nearest to one, slice by slice of the transform."""
    slices = np.fft.fft(tensor, axis=2)
    for k in range(slices.shape[2]):
        left, _, right = np.linalg.svd(slices[:, :, k], full_matrices=False)
        slices[:, :, k] = left @ right
    return np.fft.ifft(slices, axis=2).real


def thresholded(stack, threshold):
    """(patches, channels, size): the proximal operator of the tensor nuclear norm along the last axis."""
    slices = np.fft.fft(stack, axis=2)
    for k in range(slices.shape[2]):
        left, values, right = np.linalg.svd(slices[:, :, k], full_matrices=False)
        slices[:, :, k] = left @ np.diag(np.maximum(values - threshold, 0)) @ right
    return np.fft.ifft(slices, axis=2).real


class PlainIrTensr:
    """All that a pass needs, with images (bands, H, W) and tensors (rows, bands, columns)."""

    def __init__(self, degrade, responses, upsample, first_basis, settings):
        """``degrade``: dense (pixels of the HSI, pixels of the MSI); the others as functions of arrays."""
        self.degrade, self.responses, self.upsample, self.first_basis = degrade, responses, upsample, first_basis
        self.settings = settings
        self.objectives = []  # of each iteration, without that of the patches

    def run(self, hsi, msi):
        total, coarse, fine = 0.0, hsi, msi
        for _ in range(self.settings.passes):
            added = self.one_pass(coarse, fine)
            total = total + added
            coarse = coarse - (added.reshape(len(added), -1) @ self.degrade.T).reshape(coarse.shape)
            fine = fine - np.einsum("ml,lrc->mrc", self.responses, added)
        return total

    def one_pass(self, hsi, msi):
        mu, beta = self.settings.coupling, self.settings.proximity
        image = self.upsample(hsi).transpose(1, 0, 2)
        basis = self.first_basis(hsi)
        coefficients = t_product(t_transposed(basis), image)
        image = t_product(basis, coefficients)
        for _ in range(self.settings.inner_iterations):
            image = self.image_step(hsi, msi, mu * t_product(basis, coefficients) + beta * image)
            basis = polar(mu * t_product(image, t_transposed(coefficients)) + beta * basis)
            given = (mu * t_product(t_transposed(basis), image) + beta * coefficients) / (mu + beta)
            before, coefficients = coefficients, self.patch_steps(given)
            self.objectives.append(self.objective(hsi, msi, image, t_product(basis, coefficients)))
            if np.linalg.norm(coefficients - before) < self.settings.tolerance * np.linalg.norm(before):
                break
        return t_product(basis, coefficients).transpose(1, 0, 2)

    def objective(self, hsi, msi, image, product):
        bands_first = image.transpose(1, 0, 2)
        misfits = (
            hsi.reshape(len(hsi), -1) - bands_first.reshape(len(hsi), -1) @ self.degrade.T,
            msi - np.einsum("ml,lrc->mrc", self.responses, bands_first),
        )
        return sum((one**2).sum() for one in misfits) / 2 + self.settings.coupling / 2 * ((image - product) ** 2).sum()

    def image_step(self, hsi, msi, pulled):
        """Solve for all pixels and bands at once."""
        bands, pixels = len(hsi), self.degrade.shape[1]
        total = self.settings.coupling + self.settings.proximity
        left = np.kron(self.responses.T @ self.responses + total * np.eye(bands), np.eye(pixels))
        left += np.kron(np.eye(bands), self.degrade.T @ self.degrade)
        right = np.einsum("ml,mrc->lrc", self.responses, msi).reshape(bands, -1)
        right = right + hsi.reshape(bands, -1) @ self.degrade + pulled.transpose(1, 0, 2).reshape(bands, -1)
        return np.linalg.solve(left, right.ravel()).reshape(bands, *msi.shape[1:]).transpose(1, 0, 2)

    def patch_steps(self, given):
        gamma = self.settings.splitting
        rho = self.settings.sparsity / (gamma * (self.settings.coupling + self.settings.proximity))
        found, multiplier = given, np.zeros_like(given)
        for _ in range(self.settings.patch_iterations):
            low = self.low_patches(found - multiplier / gamma, rho)
            found = (given + gamma * low + multiplier) / (1 + gamma)
            multiplier = multiplier + gamma * (low - found)
        return found

    def low_patches(self, tensor, rho):
        """Patches over bands and columns, the columns fastest; each with all channels."""
        import torch

        _, bands, cols = tensor.shape
        q = min(self.settings.patch, bands, cols)
        step = q - q // 2
        starts = [[*range(0, size - q, step), size - q] for size in (bands, cols)]
        at = [(b, c) for b in starts[0] for c in starts[1]]
        stack = np.stack([tensor[:, b : b + q, c : c + q].reshape(len(tensor), q * q) for b, c in at])
        groups = cluster(torch.from_numpy(stack.reshape(len(at), -1)), self.settings.clusters, self.settings.seed)
        total, times = np.zeros_like(tensor), np.zeros(tensor.shape[1:])
        for group in groups:
            for number, patch in zip(group.tolist(), thresholded(stack[group.numpy()], rho), strict=True):
                b, c = at[number]
                total[:, b : b + q, c : c + q] += patch.reshape(-1, q, q)
                times[b : b + q, c : c + q] += 1
        return total / times
