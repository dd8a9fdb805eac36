"""What runs a frozen network over many images: Keras itself, or OpenVINO on a processor.

The seam is one method. An engine takes blocks of images in order and gives what the network makes of them:

    engine = open_engine("keras", model)
    for rows in engine.run(blocks): ...
"""

from __future__ import annotations

from tlkit.engines.choosing import choose_engine, preferred
from tlkit.engines.opening import Engine, open_engine

__all__ = ["Engine", "choose_engine", "open_engine", "preferred"]
