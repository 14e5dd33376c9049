#!/usr/bin/env bash
# ROS, the Python environment where there is one, the workspace; then what was asked for.
set -e
source "/opt/ros/${ROS_DISTRO}/setup.bash"
if [ -n "${VENV:-}" ]; then
    source "${VENV}/bin/activate"
    # `ros2` itself runs in the system's Python, and launch files read bags.
    PYTHONPATH="$(python3 -c 'import sysconfig; print(sysconfig.get_path("purelib"))'):${PYTHONPATH}"
    export PYTHONPATH
fi
source /ws/install/setup.bash
exec "$@"
