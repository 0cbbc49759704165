region     = "eu-west-1"
account_id = "111122223333"
name       = "acme-private-files"

app_origins            = ["https://files.example.com"]
web_principal_arns     = ["arn:aws:iam::111122223333:role/web"]
sweeper_principal_arns = ["arn:aws:iam::111122223333:role/sweeper"]

recovery_region = "eu-central-1"
