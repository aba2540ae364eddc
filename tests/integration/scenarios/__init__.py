"""The scenarios, in the order in which all of them run."""

# isort: off
from . import basics
from . import producer_consumer
from . import topics
from . import ctl
from . import recover
from . import merge
from . import flags
from . import flags_broker
from . import flags_tools
from . import bad_input
from . import loopback
from . import split_start
from . import idle
from . import client_cleanup
from . import election
from . import kills
from . import pause
from . import rolling
from . import restart_all
from . import partition
from . import loss
from . import storm
from . import survivors
from . import resume
from . import union
from . import garbage
from . import disk
from . import no_multicast
from . import view_sync
from . import state_exchange
from . import flush_before_ack
from . import power
from . import protocol_compliance
from . import netns_scripts
