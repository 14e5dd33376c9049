# Everything a newcomer types. Each target builds its environment first where it is missing.
PYTHON ?= python3
VENV ?= .venv
# Where rclpy comes from: `kilted` or `jazzy` are wheels from PyPI, `system` is the ROS 2 install sourced in this shell.
RCLPY ?= $(if $(AMENT_PREFIX_PATH),system,kilted)

BIN := $(VENV)/bin
LOCKS := requirements/lock.txt $(if $(filter system,$(RCLPY)),,requirements/ros-pip-$(RCLPY).lock.txt)
READY := $(VENV)/.ready-$(RCLPY)

.PHONY: setup demo test test-all lint soak bench reference docs lock clean

setup: $(READY)

$(READY): $(LOCKS) setup.py
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "sidepth needs Python 3.10 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(if $(filter system,$(RCLPY)),--system-site-packages) $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python $(addprefix -r ,$(LOCKS))
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

# A synthetic drive through real ROS 2; `make demo BAG=path/to/rosbag2` takes a bag as the camera.
demo: $(READY)
	$(BIN)/demo $(if $(BAG),--bag $(BAG)) $(ARGS)

test: lint
	$(BIN)/python -m pytest --numprocesses 2 $(ARGS)

# The node's tests once more, on Jazzy's rclpy in an environment of its own, but for those that one distribution shows.
test-all: test
	$(MAKE) VENV=.venv-jazzy RCLPY=jazzy setup
	.venv-jazzy/bin/python -m pytest test/ros --numprocesses 2 -m "not one_distribution" $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/mypy

# Hours: hostile messages by the ten thousand and through running nodes, damaged bags, kills, stops and changes by the
# hundred; then a training of 10 000 steps and a node for MINUTES at its highest rate, with JSON and plots in out/soak.
MINUTES ?= 30
STEPS ?= 10000
soak: $(READY)
	SIDEPTH_SOAK=1 $(BIN)/python -m pytest test/ros/messages/test_hostile.py \
	  test/core/data/bags/test_damage.py test/core/training/test_kills.py test/ros/node/test_hostile_node.py \
	  test/ros/node/test_changes.py test/ros/node/test_stops.py -s -o faulthandler_timeout=0 $(ARGS)
	$(BIN)/python -m sidepth_core.benchmarks.training_soak --steps $(STEPS)
	$(BIN)/python -m sidepth_ros.benchmark.soak --minutes $(MINUTES)

# Tables and pictures of this machine, into docs/benchmarks.md.
bench: $(READY)
	$(BIN)/sidepth benchmark --page docs/benchmarks.md $(ARGS)

# What is made from tables in the code: pages of docs/reference, training/reference.yaml, config/depth.yaml.
reference: $(READY)
	$(BIN)/python docs/make_reference.py

# The site of docs/ into site/, every link checked, in an environment of its own.
docs: .venv-docs/.ready
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build

.venv-docs/.ready: requirements/docs.lock.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/docs.lock.txt
	touch $@

# Pin what requirements/*.txt ask for, for every supported Python at once.
PIN = $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.10 --no-emit-index-url --no-header
lock: $(READY)
	$(PIN) requirements/dev.txt -o requirements/lock.txt
	$(PIN) requirements/docs.txt -o requirements/docs.lock.txt
	$(PIN) requirements/ros-pip-kilted.txt -c requirements/lock.txt -o requirements/ros-pip-kilted.lock.txt
	$(PIN) requirements/ros-pip-jazzy.txt -c requirements/lock.txt -o requirements/ros-pip-jazzy.lock.txt

clean:
	rm -rf .venv .venv-jazzy .venv-docs build install log site *.egg-info
