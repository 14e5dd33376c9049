#!/usr/bin/env bash
# ROS, the Python environment where there is one, the workspace; then what was asked for.
set -e
source "/opt/ros/${ROS_DISTRO}/setup.bash"
if [ -n "${VENV:-}" ]; then source "${VENV}/bin/activate"; fi
source /ws/install/setup.bash
exec "$@"
