# Two commands do everything on a fresh machine with Python >= 3.11: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/ready

.PHONY: demo test check soak bench full model clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

demo: $(READY)
	$(BIN)/wsiparse run tests/data/CMU-1-Small-Region.svs -o demo/cmu-1 --targets "nuclei,glandular structure"
	$(BIN)/wsiparse picture demo/cmu-1 demo/cmu-1.png
	$(BIN)/wsiparse picture demo/cmu-1 demo/cmu-1-region.png --region 950,500,600,450 --side 800 --targets nuclei
	$(BIN)/wsiparse run workflows/demo/manifest.csv -o demo/cohort
	$(BIN)/wsiparse evaluate demo/cohort
	$(BIN)/wsiparse report demo/cohort
	$(BIN)/wsiparse picture demo/cohort demo/glands.png --slide normal --side 400
	@echo
	@echo "Look at   demo/cmu-1.png, demo/cmu-1-region.png and demo/glands.png"
	@echo "In QuPath open tests/data/CMU-1-Small-Region.svs, then drop demo/cmu-1/CMU-1-Small-Region/annotations.geojson.gz on it"
	@echo "In napari open demo/cmu-1/CMU-1-Small-Region/parse.zarr/0.25um (needs napari-ome-zarr)"
	@echo "Dice      demo/cohort/evaluation.csv, and demo/cohort/report.html in a browser"

test: $(READY)
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layers.py

soak: $(READY)
	WSIPARSE_SOAK=200 $(BIN)/python -m pytest -q tests/faults/test_cluster.py -k soak

bench: $(READY)
	$(BIN)/python -m benchmarks

full: $(READY)
	$(BIN)/python -m benchmarks.full_size

model: $(READY)
	$(BIN)/wsiparse train configs/train/open-1-start.toml
	$(BIN)/wsiparse train configs/train/open-1.toml
	$(BIN)/wsiparse train configs/train/open-1-finish.toml
	$(BIN)/wsiparse train configs/train/open-1-nuclei.toml
	$(BIN)/wsiparse train configs/train/open-1-fat.toml
	$(BIN)/wsiparse train configs/train/open-1-bare.toml
	$(BIN)/wsiparse train configs/train/open-1-long.toml
	$(BIN)/wsiparse train configs/train/open-1-skin.toml
	$(BIN)/wsiparse train configs/train/open-1-apart.toml
	$(BIN)/wsiparse train configs/train/open-1-grades.toml
	$(BIN)/wsiparse train configs/train/open-1-mirror.toml
	$(BIN)/wsiparse train configs/train/open-1-scales.toml
	$(BIN)/wsiparse train configs/train/open-1-stroma.toml
	$(BIN)/wsiparse train configs/train/open-1-steady.toml

clean:
	rm -rf $(VENV) demo
