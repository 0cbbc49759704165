# The service on Fargate behind a load balancer. No access key anywhere: tasks run as the module's two roles.

locals {
  environment = {
    DJANGO_SETTINGS_MODULE = "settings.production"
    ALLOWED_HOSTS          = var.host_name
    # The load balancer asks for a task's health by the task's address.
    ALLOW_OWN_ADDRESS      = "1"
    GATEWAY_PUBLIC_URL     = "https://${var.host_name}"
    GATEWAY_STORAGES_JSON  = jsonencode({ private = module.files.settings })
    GATEWAY_MAX_TTL        = tostring(module.files.settings.max_ttl_seconds)
    TRUST_PROXY_SSL_HEADER = "1"
  }

  # What both kinds of task have; they differ in what they run, and as whom.
  container = {
    image                  = var.image
    essential              = true
    readonlyRootFilesystem = true
    user                   = "10001:10001"
    environment            = [for name, value in local.environment : { name = name, value = value }]
    secrets                = [for name, secret in aws_secretsmanager_secret.this : { name = name, valueFrom = secret.arn }]
    mountPoints            = [{ sourceVolume = "scratch", containerPath = "/scratch", readOnly = false }]
    linuxParameters        = { capabilities = { drop = ["ALL"] }, initProcessEnabled = true }
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.this.name
        awslogs-region        = var.region
        awslogs-stream-prefix = "gateway"
      }
    }
  }
}

module "files" {
  source = "../../../modules/aws-s3"

  name = var.bucket
  cors = { allowed_origins = ["https://${var.host_name}"] }

  # Two kinds of task trust the same service, and have a role each.
  signer  = { trusted_services = ["ecs-tasks.amazonaws.com"] }
  sweeper = { trusted_services = ["ecs-tasks.amazonaws.com"] }
}

# Their values never come near Terraform, or they would be in its state.
resource "aws_secretsmanager_secret" "this" {
  for_each = toset(["DATABASE_URL", "SECRET_KEY"])

  name = "${var.name}/${each.key}"
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/${var.name}"
  retention_in_days = 365
}

resource "aws_ecs_cluster" "this" {
  name = var.name
}

resource "aws_ecs_task_definition" "web" {
  family                   = "${var.name}-web"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 512
  memory                   = 1024
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = module.files.signer_role_arn

  container_definitions = jsonencode([merge(local.container, {
    name         = "gateway"
    portMappings = [{ containerPort = 8000, protocol = "tcp" }]
  })])

  volume {
    name = "scratch"
  }
}

resource "aws_ecs_task_definition" "sweeper" {
  family                   = "${var.name}-sweeper"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = module.files.sweeper_role_arn

  container_definitions = jsonencode([merge(local.container, {
    name    = "gateway"
    command = ["python", "manage.py", "gateway_sweep", "--execute"]
  })])

  volume {
    name = "scratch"
  }
}

resource "aws_ecs_service" "web" {
  name            = "web"
  cluster         = aws_ecs_cluster.this.id
  task_definition = aws_ecs_task_definition.web.arn
  launch_type     = "FARGATE"
  desired_count   = var.tasks

  health_check_grace_period_seconds = 60

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.web.arn
    container_name   = "gateway"
    container_port   = 8000
  }

  network_configuration {
    subnets         = var.private_subnet_ids
    security_groups = [aws_security_group.tasks.id]
  }

  depends_on = [aws_lb_listener.https]
}
