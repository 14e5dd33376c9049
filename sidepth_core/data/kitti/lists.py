"""Which drives and images of KITTI raw the published splits take, as the rules behind their lists.

Eigen et al. (NIPS 2014) took 61 drives through city, residential areas and roads, and tested on 28 of them: on about
25 images of each, every n-th of those that are left when the car stands still. The rules below were checked against
the published list of 697; a stretch is its first and its last number.
"""

from __future__ import annotations

from typing import NamedTuple


class Sampling(NamedTuple):
    """Every n-th image of a drive.

    Attributes:
        step: n.
        stretches: First and last number of each stretch.
        left_out: Numbers that are missing nevertheless.
    """

    step: int
    stretches: tuple[tuple[int, int], ...]
    left_out: tuple[int, ...] = ()

    def numbers(self) -> frozenset[int]:
        """Return the numbers of the images."""
        every = (range(first, last + 1, self.step) for first, last in self.stretches)
        return frozenset(number for stretch in every for number in stretch).difference(self.left_out)


_EIGEN_TEST = {
    '2011_09_26': {
        2: Sampling(3, ((0, 75),), (66,)),
        9: Sampling(16, ((0, 176), (196, 388))),
        13: Sampling(5, ((0, 140),), (15, 25, 55, 75)),
        20: Sampling(3, ((0, 84),), (24, 30, 39, 81)),
        23: Sampling(18, ((18, 468),), (234,)),
        27: Sampling(7, ((0, 182),), (105, 154)),
        29: Sampling(14, ((0, 196), (268, 408)), (282,)),
        36: Sampling(32, ((0, 800),), (736,)),
        46: Sampling(5, ((0, 120),)),
        48: Sampling(1, ((0, 21),)),
        52: Sampling(2, ((0, 52),), (24, 34)),
        56: Sampling(11, ((11, 286),), (132,)),
        59: Sampling(14, ((0, 238), (274, 372)), (168,)),
        64: Sampling(22, ((0, 550),), (132,)),
        84: Sampling(13, ((49, 374),), (166,)),
        86: Sampling(27, ((7, 682),), (547,)),
        93: Sampling(16, ((0, 256), (305, 417))),
        96: Sampling(19, ((0, 456),)),
        101: Sampling(34, ((80, 930),), (250,)),
        106: Sampling(8, ((15, 15), (35, 219))),
        117: Sampling(26, ((0, 650),), (520,)),
    },
    '2011_09_28': {2: Sampling(3, ((0, 90),), (15, 27, 42, 66, 69, 75))},
    '2011_09_29': {71: Sampling(36, ((0, 612), (735, 951), (1054, 1054)), (843,))},
    '2011_09_30': {
        16: Sampling(11, ((0, 275),), (99,)),
        18: Sampling(107, ((0, 2247), (2419, 2740)), (321,)),
        27: Sampling(41, ((0, 656), (753, 1081)), (999,)),
    },
    '2011_10_03': {27: Sampling(181, ((0, 543), (734, 4535)), (2182,)), 47: Sampling(32, ((0, 800),), (256,))},
}
# The other 33 of the 61. Zhou et al. (CVPR 2017) train on them too, but for 2011_09_26 60, where the car never moves.
_EIGEN_TRAIN = {
    '2011_09_26': (1, 5, 11, 14, 15, 17, 18, 19, 22, 28, 32, 35, 39, 51, 57, 60, 61, 70, 79, 87, 91, 95, 104, 113),
    '2011_09_28': (1,),
    '2011_09_29': (4, 26),
    '2011_09_30': (20, 28, 33, 34),
    '2011_10_03': (34, 42),
}
# The validation drives of KITTI's own depth benchmark.
_BENCHMARK_VAL = {
    '2011_09_26': (2, 5, 13, 20, 23, 36, 79, 95, 113),
    '2011_09_28': (37,),
    '2011_09_29': (26,),
    '2011_09_30': (16,),
    '2011_10_03': (47,),
}


def _name(date: str, number: int) -> str:
    return f'{date}_drive_{number:04d}_sync'


def _names(drives: dict[str, tuple[int, ...]]) -> frozenset[str]:
    return frozenset(_name(date, number) for date, numbers in drives.items() for number in numbers)


EIGEN_TEST_FRAMES = {
    _name(date, number): sampling.numbers()
    for date, drives in _EIGEN_TEST.items()
    for number, sampling in drives.items()
}
"""The numbers of the 697 test images, of the left colour camera, by drive."""

EIGEN_TRAIN_DRIVES = _names(_EIGEN_TRAIN)
BENCHMARK_VAL_DRIVES = _names(_BENCHMARK_VAL)
