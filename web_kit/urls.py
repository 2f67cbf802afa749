"""The gallery of components; mounted only when DEBUG is on."""

from django.urls import path

from web_kit import views

app_name = "web_kit"
urlpatterns = [
    path("", views.gallery, name="gallery"),
    path("events", views.gallery_events, name="events"),
    path("ask", views.gallery_ask, name="ask"),
    path("upload", views.gallery_upload, name="upload"),
]
