"""All pages of this package; importing it registers them."""

from fleetlm.agents_admin.agent_admin import AgentEndpointAdmin
from fleetlm.agents_admin.attempt_admin import AttemptAdmin
from fleetlm.agents_admin.stream_admin import DeliveryStreamAdmin
from fleetlm.agents_admin.subscription_admin import SubscriptionAdmin

__all__ = ["AgentEndpointAdmin", "AttemptAdmin", "DeliveryStreamAdmin", "SubscriptionAdmin"]
