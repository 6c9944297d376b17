from django.urls import path

from labeling import (
    key_views,
    label_set_views,
    look_views,
    new_project,
    review_views,
    run_views,
    saved_view_pages,
    views,
    vote_views,
)

urlpatterns = [
    # Before the gallery, whose slug would take "new".
    path("projects/new/", new_project.project_new, name="project_new"),
    path("projects/<slug:slug>/", views.gallery, name="gallery"),
    path("projects/<slug:slug>/label-sets/new/", label_set_views.label_set_new, name="label_set_new"),
    path("label-sets/<int:pk>/edit/", label_set_views.label_set_edit, name="label_set_edit"),
    path("label-sets/<int:pk>/delete/", label_set_views.label_set_delete, name="label_set_delete"),
    path("label-sets/<int:pk>/progress/", run_views.progress, name="progress"),
    path("label-sets/<int:pk>/run/", run_views.run_start, name="run_start"),
    path("label-sets/<int:pk>/review/", review_views.review_page, name="review"),
    path("label-sets/<int:pk>/review/leave/", review_views.leave, name="leave"),
    path("label-sets/<int:pk>/reviews/", review_views.decide, name="decide"),
    path("label-sets/<int:pk>/reviews/undo/", review_views.undo, name="undo"),
    path("label-sets/<int:pk>/reviews/redo/", review_views.redo, name="redo"),
    path("label-sets/<int:pk>/reviews/clear/", review_views.clear, name="clear"),
    path("label-sets/<int:pk>/disputes/", vote_views.disputes, name="disputes"),
    path("label-sets/<int:pk>/disputes/settle/", vote_views.settle, name="settle"),
    path("label-sets/<int:pk>/disputes/undo/", vote_views.settle_undo, name="settle_undo"),
    path("label-sets/<int:pk>/agreement/", vote_views.agreement_page, name="agreement"),
    path("label-sets/<int:pk>/export/", views.export, name="export"),
    path("label-sets/<int:pk>/views/", saved_view_pages.views, name="views"),
    path("views/<int:pk>/", saved_view_pages.view, name="saved_view"),
    path("runs/<int:pk>/", run_views.run, name="run"),
    path("runs/<int:pk>/cancel/", run_views.run_cancel, name="run_cancel"),
    path("runs/<int:pk>/retry/", run_views.run_retry, name="run_retry"),
    path("images/<int:pk>/", views.image, name="image"),
    path("images/<int:pk>/similar/", look_views.similar, name="similar"),
    path("images/<int:pk>/why/", look_views.why, name="why"),
    path("account/keys/", key_views.account_keys, name="keys"),
]
