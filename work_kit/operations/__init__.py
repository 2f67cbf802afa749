"""Everything that changes a job, and the only place that does.

``asking`` is what people want, ``claiming`` and ``recording`` and ``ending`` are what the holder of a lease writes,
``presence`` is who is there to work.
"""

from work_kit.operations.asking import note_job, request_stop, resume_job, submit_job
from work_kit.operations.claiming import Orders, claim_job, claimed_with, orders, renew_lease
from work_kit.operations.ending import (
    begin_saving,
    end_attempt,
    mend_times,
    reap_expired_leases,
    release_job,
    succeed_job,
)
from work_kit.operations.leases import Fenced, Lease, still_holds
from work_kit.operations.presence import (
    DeviceFacts,
    Resources,
    beat_worker,
    forget_lost_workers,
    forget_worker,
    note_devices,
)
from work_kit.operations.recording import record_events

__all__ = [
    "DeviceFacts",
    "Fenced",
    "Lease",
    "Orders",
    "Resources",
    "beat_worker",
    "begin_saving",
    "claim_job",
    "claimed_with",
    "end_attempt",
    "forget_lost_workers",
    "forget_worker",
    "mend_times",
    "note_devices",
    "note_job",
    "orders",
    "reap_expired_leases",
    "record_events",
    "release_job",
    "renew_lease",
    "request_stop",
    "resume_job",
    "still_holds",
    "submit_job",
    "succeed_job",
]
