"""What the gateway tells the host: signals that are sent after the record was made.

Receivers get the audit row, never a link; a receiver that raises is logged and changes nothing.
"""

from django.dispatch import Signal

__all__ = ["access_refused", "link_issued"]

# sender: the class Issuance; issuance: its row
link_issued = Signal()
access_refused = Signal()
