"""Where frames come from: bags, videos, folders, KITTI, the synthetic world; and the clips made of them."""
