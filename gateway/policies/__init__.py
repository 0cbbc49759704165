"""Who may do what to which object: Allow with limits, or Deny with a reason. Anything else is a refusal.

Must not sign, record or touch a store. Policies that can be said as a query are asked in the same statement
that reads the row; all others see the row, never the caller's instance.
"""

from __future__ import annotations

from gateway.policies.answers import DATABASE_DOWN, NO_LIMITS, Allow, Decided, Deny, Failure, Limits
from gateway.policies.branches import Branch, Fitting, annotate_branch, branches_of, number_by_row
from gateway.policies.combining import And, Composable, Not, Or, Policy, evaluate, evaluate_many, visible
from gateway.policies.operations import (
    OPERATIONS,
    UPLOADS,
    Delete,
    Download,
    DownloadPrefix,
    Operation,
    Share,
    Update,
    Upload,
    UploadForm,
    UploadPart,
)
from gateway.policies.owner import Owner
from gateway.policies.people import Authenticated, Everyone, StaffOnly
from gateway.policies.permissions import ModelPermission, ObjectPermission
from gateway.policies.rows import RowPolicy

__all__ = [
    "DATABASE_DOWN",
    "DEFAULT_POLICY",
    "FILE_POLICY",
    "NO_LIMITS",
    "OPERATIONS",
    "UPLOADS",
    "UPLOAD_POLICY",
    "Allow",
    "And",
    "Authenticated",
    "Branch",
    "Composable",
    "Decided",
    "Delete",
    "Deny",
    "Download",
    "DownloadPrefix",
    "Everyone",
    "Failure",
    "Fitting",
    "Limits",
    "ModelPermission",
    "Not",
    "ObjectPermission",
    "Operation",
    "Or",
    "Owner",
    "Policy",
    "RowPolicy",
    "Share",
    "StaffOnly",
    "Update",
    "Upload",
    "UploadForm",
    "UploadPart",
    "annotate_branch",
    "branches_of",
    "evaluate",
    "evaluate_many",
    "number_by_row",
    "visible",
]

DEFAULT_POLICY = ModelPermission("view")
FILE_POLICY = Owner("owner", operations=(Download, Update, Delete, Share)) | ModelPermission("view")
# Of the service's own files, which belong to whoever uploads them.
UPLOAD_POLICY = Authenticated(operations=UPLOADS)
