project_id = "acme-prod"
region     = "europe-west1"
name       = "gateway"
bucket     = "acme-private-files"
host_name  = "files.example.com"
image      = "europe-docker.pkg.dev/acme-prod/gateway/gateway@sha256:0000000000000000000000000000000000000000000000000000000000000000"

cloud_sql_instance = "acme-prod:europe-west1:gateway"

secrets = {
  DATABASE_URL = "gateway-database-url"
  SECRET_KEY   = "gateway-secret-key"
}
