"""Generated chest CT in Hounsfield units, with lungs and lesions known to the voxel."""

from cosup_jax.phantom.volume import PhantomVolume, draw_volume

__all__ = ["PhantomVolume", "draw_volume"]
