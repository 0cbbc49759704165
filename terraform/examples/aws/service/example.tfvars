region     = "eu-west-1"
account_id = "111122223333"
name       = "gateway"
bucket     = "acme-private-files"

host_name       = "files.example.com"
certificate_arn = "arn:aws:acm:eu-west-1:111122223333:certificate/00000000-0000-0000-0000-000000000000"
image           = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/gateway@sha256:0000000000000000000000000000000000000000000000000000000000000000"

vpc_id             = "vpc-00000000000000000"
public_subnet_ids  = ["subnet-00000000000000001", "subnet-00000000000000002"]
private_subnet_ids = ["subnet-00000000000000003", "subnet-00000000000000004"]
