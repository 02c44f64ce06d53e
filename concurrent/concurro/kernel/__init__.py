"""Find components, check them, and hand them out by interface and name."""

from concurro.kernel.components import Component, ExtensionPoint, Selected
from concurro.kernel.environment import Environment
from concurro.kernel.offers import Offer, OfferState

__all__ = ["Component", "Environment", "ExtensionPoint", "Offer", "OfferState", "Selected"]
