# Two identities: one signs (reads and creates), another one deletes. Roles of their own, since Google's hold more.

locals {
  can_upload   = contains(var.signer.allow, "upload")
  can_download = contains(var.signer.allow, "download")

  bucket_name = "projects/_/buckets/${var.name}"

  # Objects below a prefix; whatever is asked of the bucket itself, a listing too, is none.
  below_prefixes = join(" || ", [for prefix in values(var.prefixes) : "resource.name.startsWith(\"${local.bucket_name}/objects/${prefix}\")"])

  role_base = replace(var.name, "-", "_")
}

# roles/storage.objectViewer would list, too; objectCreator would ask for folders.
resource "google_project_iam_custom_role" "signer" {
  project     = var.project_id
  role_id     = "${local.role_base}_signer"
  title       = "Signer of ${var.name}"
  description = "Reads and creates objects; neither lists nor deletes, and so cannot overwrite"
  permissions = sort(concat(
    local.can_download ? ["storage.objects.get"] : [],
    local.can_upload ? [
      "storage.multipartUploads.abort",
      "storage.multipartUploads.create",
      "storage.multipartUploads.listParts",
      "storage.objects.create",
    ] : [],
  ))
}

resource "google_project_iam_custom_role" "sweeper" {
  project     = var.project_id
  role_id     = "${local.role_base}_sweeper"
  title       = "Sweeper of ${var.name}"
  description = "Deletes what nothing names any more"
  permissions = [
    "storage.multipartUploads.abort",
    "storage.multipartUploads.list",
    "storage.multipartUploads.listParts",
    "storage.objects.delete",
    "storage.objects.get",
    "storage.objects.list",
  ]
}

# roles/iam.serviceAccountTokenCreator would hand out the account's tokens, too.
resource "google_project_iam_custom_role" "sign_blob" {
  project     = var.project_id
  role_id     = "${local.role_base}_sign_blob"
  title       = "Sign links to ${var.name}"
  description = "Has bytes signed by a service account, and nothing else"
  permissions = ["iam.serviceAccounts.signBlob"]
}

resource "google_service_account" "signer" {
  project      = var.project_id
  account_id   = var.signer.account_id
  display_name = "Signs links to ${var.name}"
}

resource "google_service_account" "sweeper" {
  project      = var.project_id
  account_id   = var.sweeper.account_id
  display_name = "Deletes what nothing names any more in ${var.name}"
}

# The account itself is no exception: without this it could not sign as itself.
resource "google_service_account_iam_member" "signs_as_itself" {
  service_account_id = google_service_account.signer.name
  role               = google_project_iam_custom_role.sign_blob.id
  member             = google_service_account.signer.member
}

resource "google_service_account_iam_member" "sign_blob" {
  for_each = var.signer.sign_blob_members

  service_account_id = google_service_account.signer.name
  role               = google_project_iam_custom_role.sign_blob.id
  member             = each.value
}

resource "google_service_account_iam_member" "runs_as_signer" {
  for_each = var.signer.workload_identity_users

  service_account_id = google_service_account.signer.name
  role               = "roles/iam.workloadIdentityUser"
  member             = each.value
}

resource "google_service_account_iam_member" "runs_as_sweeper" {
  for_each = var.sweeper.workload_identity_users

  service_account_id = google_service_account.sweeper.name
  role               = "roles/iam.workloadIdentityUser"
  member             = each.value
}

resource "google_storage_bucket_iam_member" "signer" {
  bucket = google_storage_bucket.this.name
  role   = google_project_iam_custom_role.signer.id
  member = google_service_account.signer.member

  condition {
    title       = "below_prefixes"
    description = "Objects below the gateway's prefixes"
    expression  = local.below_prefixes
  }
}

resource "google_storage_bucket_iam_member" "sweeper" {
  bucket = google_storage_bucket.this.name
  role   = google_project_iam_custom_role.sweeper.id
  member = google_service_account.sweeper.member

  condition {
    title       = "bucket_and_below_prefixes"
    description = "The bucket, to list it, and objects below the gateway's prefixes"
    expression  = "resource.name == \"${local.bucket_name}\" || ${local.below_prefixes}"
  }
}

resource "google_storage_hmac_key" "signer" {
  count = var.signer.hmac_key ? 1 : 0

  project               = var.project_id
  service_account_email = google_service_account.signer.email
}
