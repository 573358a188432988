"""Where a run of two slides may be struck: functions, each with a number of calls that it surely makes."""

from __future__ import annotations

from pathlib import Path

SIZE = (301, 203)
FITS = Path(__file__).parents[1] / "data/tone-fits.json"
SETTINGS = ["--model", "tests.tiny:build_tone", "--block-tiles", "2", "--no-tissue", "--validity", str(FITS)]

STEPS = {
    "runs.planning:prepare_slide": 2,
    "runs.planning:create_canvas": 4,
    "runs.pipeline:load_block": 8,
    "runs.pipeline:predict_block": 8,
    "runs.judge:write_evidence": 8,
    "runs.pipeline:write_block": 8,
    "os:replace": 40,  # every file is renamed when it is whole
    "runs.judge:write_tiles": 2,
    "runs.planning:create_labels": 3,
    "runs.squares:write_labels": 8,
    "runs.squares:write_pieces": 8,
    "runs.finish:build_pyramid": 2,
    "runs.finish:remove_pieces": 2,
    "runs.finish:write_json": 2,
}
"""Functions of a worker, with a number of calls that a run of two slides surely makes."""
CLIENT_STEPS = {
    "runs.parse:start_run": 1,
    "runs.run:write_manifest": 1,
    "runs.cluster:_Cohort._submit_slide": 2,
    "runs.cluster:_Cohort._submit_blocks": 3,
    "runs.cluster:_Cohort._take_block": 8,
    "runs.cluster:_Cohort._take_finished": 2,
}
