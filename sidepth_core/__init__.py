"""Metric depth from one camera: the DaB-Net method, its self-supervised trainer and its inference. Imports no ROS."""

__version__ = '0.1.0'
