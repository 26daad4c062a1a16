"""Published figures that runs are held against: their one home, each with where it comes from.

PAPER is Nanda et al. (2023), arXiv 2301.05217: one mainline run of 40,000 epochs at weight decay 1.0,
without a spread. The grok epochs are of secondary sources: logs that others have published of the same
experiment (full batch, 30 % of the pairs).
"""

from typing import NamedTuple

PAPER_EPOCHS = 40_000  # that its mainline run was trained for
PAPER_WEIGHT_DECAY = 1.0

KEY_FREQUENCIES = (14, 35, 41, 42, 52)  # section 4.1, mainline run
OTHER_SEEDS_KEYS = (3, 5)  # appendix C.2: fewest and most key frequencies of other seeds
PERIODIC_NEURONS, ALL_NEURONS = (
    433,
    512,
)  # section 4.2: more than 85 % of their variance in one frequency
# Section 4.2: of W_L after 10 directions, "Frobenius norm ... of the norm of W_L". The paper's figure of
# W_L's 44 neurons of frequency 14 shows about 10 % of the norm outside the key waves, which is
# 1 % of the squared norm: the sentence cannot mean the norm of that residual.
RESIDUAL = 0.0055
DIRECTIONS_EXPLAINED = (0.932, 0.982)  # section 4.2: u_k and v_k by one wave each
COSINES_EXPLAIN = 0.95  # section 4.1: of the variance of the logits
FULL_LOSS, RESTRICTED_LOSS = 2.4e-7, 5.5e-8  # section 4.4
ON_DIRECTIONS_LOSS, ON_NULL_SPACE_LOSS = 1.2e-7, 5.27  # section 4.4
PHASE_ENDS = (1_400, 9_400, 14_000)  # section 5.2: memorisation, circuit formation, cleanup


class GrokEpochs(NamedTuple):
    """Epochs at which runs of others grokked. None: not within what they watched."""

    earliest: int | None
    latest: int | None
    told: str

    @property
    def has_spread(self) -> bool:
        """Is it more than one figure, which says nothing of how seeds differ?"""
        return self.earliest != self.latest


GROK_EPOCHS = {  # by weight decay
    3.0: GrokEpochs(1_300, 3_000, "1,300 to 3,000"),
    2.0: GrokEpochs(3_000, 3_000, "near 3,000"),
    1.0: GrokEpochs(4_000, 10_500, "4,000 to 10,500, median of ten seeds 7,588"),
    0.5: GrokEpochs(17_000, 17_000, "near 17,000"),
    0.3: GrokEpochs(20_000, 23_000, "20,000 to 23,000"),
    0.1: GrokEpochs(None, None, "not within 40,000"),
}
