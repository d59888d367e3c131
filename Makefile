# make demo   make the environment, run the main job on a short clip, say which files to open
# make test   make the environment if needed, check style and types, run the tests
#             (make test TESTS="-m slow" runs the long ones, TESTS=tests/test_cli.py some)
# make quick  run the tests of the files that you changed, in under a minute (tests/quick.py says which)
# make types  check the types with mypy
# make style  format the code
# make fuzz   give every reader of files 10,000 broken inputs (make fuzz INPUTS=500 READERS=video)
# make soak   kill batches and training runs at random for 20 minutes (make soak MINUTES=2 CLIPS=20 STEPS=40)
# make docs   build the pages of docs/ into site/
# make build  build the wheel and the source archive into dist/
# make wheels install the wheel into a clean environment of each Python that is here, and try it there

PYTHON ?= python3
VENV ?= .venv
PY := "$(VENV)/bin/python"
READY := $(VENV)/.ready

.PHONY: demo test quick types build/types style fuzz soak docs build wheels clean

demo: $(READY)
	"$(VENV)/bin/coprop" demo -o demo

test: $(READY)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(MAKE) types
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(PY) -m pytest -q -n 2 --durations=10 $(TESTS)

quick: $(READY)
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(PY) -m pytest -q -n 2 --dist loadfile $$($(PY) tests/quick.py)

# An import of coprop_plugin.adapters must find adapters/, so both lie in one folder here.
build/types:
	rm -rf build/types && mkdir -p build/types/coprop_plugin
	ln -s "$(CURDIR)"/coprop_plugin/* "$(CURDIR)"/adapters build/types/coprop_plugin/

types: $(READY) build/types
	python="$$(cd "$(VENV)" && pwd)/bin/python" && cd build/types && "$$python" -m mypy -p coprop_plugin \
	    --config-file "$(CURDIR)/pyproject.toml" --cache-dir "$(CURDIR)/.mypy_cache"

style: $(READY)
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

fuzz: $(READY)
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(PY) tests/fuzz.py --inputs $(or $(INPUTS),10000) $(READERS)

soak: $(READY)
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(PY) tests/soak.py --minutes $(or $(MINUTES),20) \
	    --clips $(or $(CLIPS),200) --steps $(or $(STEPS),500)

docs: $(READY) build/types
	$(PY) -m pip install -q -c constraints.txt -e ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict

build: $(READY)
	rm -rf build dist
	$(PY) -m pip install -q build
	$(PY) -m build

# A release is tried as a user gets it: no checkout, no test extras. A missing Python is said, not passed over.
PYTHONS ?= python3.11 python3.12 python3.13
wheels: build
	@for python in $(PYTHONS); do \
	    $$python -c '' 2>/dev/null || { echo "$$python is not here"; continue; }; \
	    folder=$$(mktemp -d) && $$python -m venv "$$folder/env" \
	    && "$$folder/env/bin/python" -m pip install -q -c constraints.txt dist/*.whl \
	    && (cd "$$folder" && env/bin/coprop demo --tiny -o demo >/dev/null && env/bin/coprop list >/dev/null) \
	    && echo "$$python: installed and tried" && rm -rf "$$folder" || exit 1; \
	done

clean:
	rm -rf "$(VENV)" build dist demo site *.egg-info

# The stamp is written last, so that an install which broke off is done again.
$(READY): setup.cfg constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON). Python 3.11 or newer is needed; with one, run: make PYTHON=/path/to/python $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"Python 3.11 or newer is needed; {sys.executable} is {v[0]}.{v[1]}. Install one and run: make PYTHON=python3.11 $(MAKECMDGOALS)")'
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "Python's venv module is missing; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv "$(VENV)"
	$(PY) -m pip install -q --upgrade pip
	$(PY) -m pip install -q -c constraints.txt -e ".[test]"
	@touch "$(READY)"
