from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts_app"
    label = "accounts"
    verbose_name = "People"
