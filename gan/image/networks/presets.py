"""The sizes of the house network, as one table, and what a network is built for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """A network size.

    Attributes:
        widths: Channels of the residual stream per stage, coarsest first; the last one repeats.
        hidden: Channels of the 3x3 convolutions per stage, coarsest first; the last one repeats.
        group_width: Channels of one group of the 3x3 convolutions; 0 means one dense group.
        blocks: Residual blocks per stage.
        z_dim: Size of the latent.
        generator_embed: Size of the generator's class embedding.
        critic_embed: Size of the critic's class embedding.
        patch_px: Side of the pixel patch that one position of the finest stage stands for.
        is_published: Built as Huang et al. 2024: [1, 3, 3, 1] resampling with zeros beyond the
            border, a 1x1 convolution only where the width changes and at the pixels, and class
            embeddings initialised as linear layers. Otherwise as `r3gan.py` says of `tiny`.
    """

    widths: tuple[int, ...]
    hidden: tuple[int, ...]
    group_width: int
    blocks: int
    z_dim: int
    generator_embed: int
    critic_embed: int
    patch_px: int
    is_published: bool


def published(*widths: int) -> Preset:
    """Return a size of the published family: expansion 2, groups of 16, two blocks a stage."""
    hidden = tuple(2 * width for width in widths)
    return Preset(widths, hidden, 16, 2, 64, 64, widths[0], 1, is_published=True)


PRESETS = {
    # 2 cores, a few hundred images a second at 32x32; both networks together under 2 MB in float16.
    "tiny": Preset((256, 192, 128), (96, 96, 64), 0, 1, 64, 64, 64, 2, is_published=False),
    # A quarter of the published width: 1.7 million weights a network at 32 px.
    "small": published(192, 192, 192, 192, 96, 48, 24),
    # Published for CIFAR-10 (32 px) and FFHQ-64; above 64 px `large` is leaner.
    "base": published(768, 768, 768, 768, 384),
    # Published for FFHQ-256.
    "large": published(768, 768, 768, 768, 384, 192, 96),
}


@dataclass(frozen=True)
class Shape:
    """What a network is built for.

    Attributes:
        preset: A key of PRESETS.
        resolution: Side of the square image, px: a power of two from 16 up, or 28.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA).
        num_classes: Number of classes, at least 1.
    """

    preset: str
    resolution: int
    channels: int
    num_classes: int

    @property
    def size(self) -> Preset:
        """The preset's numbers."""
        return PRESETS[self.preset]

    @property
    def base_px(self) -> int:
        """Side of the coarsest maps: 4, or 7 for the sides that are seven times a power of two."""
        return 7 if self.resolution % 7 == 0 else 4

    def stages(self) -> list[tuple[int, int]]:
        """Return (width, hidden) for each stage, coarsest first.

        Raises:
            ValueError: The resolution is too small for a single stage.
        """
        count = (self.resolution // self.size.patch_px // self.base_px).bit_length()
        if count == 0:
            raise ValueError(f"a resolution of {self.resolution} px has no room for a stage")
        widths, hidden = self.size.widths, self.size.hidden
        last = len(widths) - 1
        return [(widths[min(i, last)], hidden[min(i, last)]) for i in range(count)]

    def groups(self, hidden: int) -> int:
        """Return the number of groups of a 3x3 convolution of `hidden` channels."""
        return hidden // self.size.group_width if self.size.group_width else 1
