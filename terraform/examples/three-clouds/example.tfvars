app_origins = ["https://files.example.com"]

aws = {
  region                 = "eu-west-1"
  name                   = "acme-private-files"
  web_principal_arns     = ["arn:aws:iam::111122223333:role/web"]
  sweeper_principal_arns = ["arn:aws:iam::111122223333:role/sweeper"]
}

gcp = {
  project_id = "acme-prod"
  location   = "europe-west1"
  name       = "acme-private-files"
}

azure = {
  subscription_id     = "00000000-0000-0000-0000-000000000000"
  resource_group_name = "acme"
  location            = "westeurope"
  name                = "acmeprivatefiles"
}
