"""What a pair of images itself shows of its sensor: position, PSF, responses, radiometry, noise."""
