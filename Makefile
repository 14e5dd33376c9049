# Everything a newcomer types. Each target builds .venv first where it is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready-$(ROS)
# pip: real rclpy from PyPI wheels. system: the rclpy of the ROS 2 install sourced in this shell.
ROS ?= $(if $(AMENT_PREFIX_PATH),system,pip)

.PHONY: setup demo test lint bench clean lock

setup: $(READY)

$(READY): requirements/lock.txt requirements/ros-pip.lock.txt setup.py
	$(PYTHON) -m venv $(if $(filter system,$(ROS)),--system-site-packages) $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements/lock.txt $(if $(filter pip,$(ROS)),-r requirements/ros-pip.lock.txt)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

# A synthetic drive through real ROS 2, or `make demo BAG=path/to/rosbag2`.
demo: $(READY)
	$(BIN)/demo $(if $(BAG),--bag $(BAG)) $(ARGS)

test: lint
	$(BIN)/python -m pytest $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/sidepth benchmark $(ARGS)

# Pin what requirements/*.txt ask for, for every supported Python at once.
lock: $(READY)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --no-emit-index-url --no-header requirements/dev.txt -o requirements/lock.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --no-emit-index-url --no-header -c requirements/lock.txt requirements/ros-pip.txt -o requirements/ros-pip.lock.txt

clean:
	rm -rf $(VENV) build install log *.egg-info
