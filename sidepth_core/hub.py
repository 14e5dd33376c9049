"""The Hugging Face Hub: whether it can be reached, asked once and briefly.

Left to itself, `huggingface_hub` tries a file six times over more than half a minute before it says that there is no
network connection.
"""

from __future__ import annotations

PATIENCE_S = 5.0
"""How long the Hub may take for its first answer, seconds."""


def hub_answers() -> bool:
    """Return whether the Hub can be reached; whatever it answers will do. False where HF_HUB_OFFLINE is set."""
    from huggingface_hub import constants, get_session  # noqa: PLC0415 - a second to import, and most weights are here

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=PATIENCE_S)
    except Exception:  # noqa: BLE001 - requests' or httpx's, by the version of huggingface_hub: both mean the same
        return False
    return True
