"""Everything that wsiparse raises on purpose.

WsiparseError
├── InputError            the command, a config or a manifest is wrong             exit 2
│   ├── TargetError       a target or prompt nobody knows
│   └── RunError          the output folder belongs to another plan or run
├── SlideError            this file cannot be parsed as a slide
│   ├── LostSlideError    its store or server cannot be reached now
│   ├── MppError          µm per pixel missing, implausible or anisotropic
│   └── PixelError        pixels that cannot be decoded
├── PlanError             the plan cannot be carried out with what is there
├── ModelError            weights, sizes or prompts do not fit the model
├── OutputError           results cannot be written
│   └── DamagedError      results cannot be read back
└── ReferenceFileError    labels that cannot be read

Every message is one line: what was found, what was expected, what to do. `reason` is the stable code that
failed.json and `wsiparse status` show. Errors take positional arguments only, so that they survive pickling between
processes.
"""

from __future__ import annotations


class WsiparseError(Exception):
    """Base of all errors raised on purpose; catch it to catch anything of wsiparse."""

    reason = "error"


class InputError(WsiparseError):
    """A person's command, config or manifest is wrong; nothing has been run."""

    reason = "input_invalid"


class TargetError(InputError):
    """A target or prompt that neither the ontology nor the model knows."""

    reason = "target_unknown"


class RunError(InputError):
    """The output folder holds another plan, or another run is writing to it."""

    reason = "run_mismatch"


class SlideError(WsiparseError):
    """A file that cannot be opened or understood as a slide."""

    reason = "slide_unreadable"


class LostSlideError(SlideError):
    """A slide behind an address that cannot be reached now; raised from an OSError that is known to pass."""

    reason = "io_error"


class MppError(SlideError):
    """A slide whose µm per pixel is missing, implausible or differs between its axes."""

    reason = "mpp_missing"


class PixelError(SlideError):
    """Pixels of a slide that cannot be decoded even after reopening it."""

    reason = "pixels_unreadable"


class PlanError(WsiparseError):
    """A plan that does not fit the memory, the disk or the slide."""

    reason = "plan_refused"


class ModelError(WsiparseError):
    """Weights, sizes or targets that do not fit the model."""

    reason = "model_invalid"


class OutputError(WsiparseError):
    """Results that cannot be written, or are damaged on disk."""

    reason = "output_unwritable"


class DamagedError(OutputError):
    """A file of results that is gone or not whole, beside others that may be."""

    reason = "output_damaged"


class ReferenceFileError(WsiparseError):
    """A pathologist's labels that cannot be read."""

    reason = "reference_unreadable"
