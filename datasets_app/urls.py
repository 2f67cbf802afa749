"""Addresses of the data pages, below ``/p/<project>/data/``."""

from django.urls import path

from datasets_app.views import detail, listing, rows, snapshot, upload

app_name = "datasets"

urlpatterns = [
    path("", listing.datasets, name="list"),
    path("sample", listing.sample, name="sample"),
    path("upload", upload.upload, name="upload"),
    path("uploads/<str:upload_id>", upload.preview, name="preview"),
    path("<str:dataset_id>/", detail.detail, name="detail"),
    path("<str:dataset_id>/events", detail.events, name="events"),
    path("<str:dataset_id>/stop", detail.stop, name="stop"),
    path("<str:dataset_id>/delete", detail.delete, name="delete"),
    path("<str:dataset_id>/rows", rows.examples, name="examples"),
    path("<str:dataset_id>/rows/<int:row>", rows.example, name="example"),
    path("<str:dataset_id>/findings/<slug:code>", rows.findings, name="findings"),
    path("<str:dataset_id>/rejected.csv", rows.rejected, name="rejected"),
    path("<str:dataset_id>/freeze", detail.freeze, name="freeze"),
    path("<str:dataset_id>/snapshots/<int:number>", snapshot.detail, name="snapshot"),
    path("<str:dataset_id>/snapshots/<int:number>/events", snapshot.events, name="snapshot_events"),
    path("<str:dataset_id>/snapshots/<int:number>/stop", snapshot.stop, name="snapshot_stop"),
    path("<str:dataset_id>/snapshots/<int:number>/download", snapshot.download, name="snapshot_download"),
]
