project_id = "acme-prod"
location   = "EUR4"
name       = "acme-private-files"

app_origins       = ["https://files.example.com"]
sign_blob_members = { developers = "group:developers@example.com" }
