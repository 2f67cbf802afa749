from django.apps import AppConfig


class ServingConfig(AppConfig):
    name = "serving_app"
    label = "serving"
    verbose_name = "Serving"
