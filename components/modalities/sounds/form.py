"""What a person may want of sounds, and what becomes of one before a network hears it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from components.section import Section


class SoundsConfig(Section):
    """Sounds, and what becomes of them before a network hears them."""

    seconds: float | None = Field(None, ge=0.1, le=600)
    """How much of a sound is heard at once, from its beginning; what is shorter is followed by
    silence. As much as the giant was trained on where not given: 0.975 for YAMNet, 1 for networks
    for pictures, 10 for presets."""
    hop: float | None = Field(None, ge=0.05)
    """Hear a long recording in windows of `seconds`, so many seconds from one to the next: the mean
    of what is heard in them is the recording's."""
    longest: float = Field(10.0, ge=0.1, le=600)
    """With `hop`: how many seconds of a recording are heard in all."""
    mels: int = Field(128, ge=16, le=512)
    """Networks for pictures: how high the picture of a sound is, in bands of the mel scale."""


class Sound(BaseModel):
    """What becomes of a sound before a network hears it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate: int
    """Samples a second."""
    seconds: float
    """That are heard in all."""
    window: float = 0.0
    """Seconds that are heard at once; 0 where that is all."""
    hop: float = 0.0
    """Seconds from one window to the next."""
    mels: int = 0
    """Of a picture; 0 where the network makes its own spectrogram."""
    family: str = ""
    """Of presets: a row of `models.audio_encoders.FAMILIES`."""

    @property
    def samples(self) -> int:
        if self.window:
            return self.at_once + (self.windows - 1) * self.step
        return round(self.rate * self.seconds)

    @property
    def at_once(self) -> int:
        """Samples that are heard at once."""
        return round(self.rate * (self.window or self.seconds))

    @property
    def step(self) -> int:
        """Samples from one window to the next."""
        return round(self.rate * self.hop)

    @property
    def windows(self) -> int:
        return 1 + round((self.seconds - self.window) / self.hop) if self.window else 1
