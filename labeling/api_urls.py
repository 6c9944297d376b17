from django.urls import path

from labeling import api, batch_api, queue_api, review_api, saved_view_api, statistics_api, vote_api

urlpatterns = [
    path("projects/<slug:slug>/label-sets/", api.LabelSets.as_view(), name="api-label-sets"),
    path("label-sets/<int:pk>/", api.LabelSetDetail.as_view(), name="api-label-set"),
    path("label-sets/<int:pk>/runs/", api.Runs.as_view(), name="api-runs"),
    path("label-sets/<int:pk>/images/", api.LabelSetImages.as_view(), name="api-label-set-images"),
    path("label-sets/<int:pk>/matches/", api.Matches.as_view(), name="api-matches"),
    path("label-sets/<int:pk>/queue/", queue_api.QueueDetail.as_view(), name="api-queue"),
    path("label-sets/<int:pk>/reviews/", api.Reviews.as_view(), name="api-reviews"),
    path("label-sets/<int:pk>/reviews/undo/", api.Undo.as_view(), name="api-undo"),
    path("label-sets/<int:pk>/reviews/redo/", review_api.Redo.as_view(), name="api-redo"),
    path("label-sets/<int:pk>/reviews/clear/", review_api.Clear.as_view(), name="api-clear"),
    path("label-sets/<int:pk>/disputes/", vote_api.Disputes.as_view(), name="api-disputes"),
    path("label-sets/<int:pk>/agreement/", vote_api.AgreementFigures.as_view(), name="api-agreement"),
    path("label-sets/<int:pk>/batches/", batch_api.Batches.as_view(), name="api-batches"),
    path("batches/<uuid:pk>/", batch_api.BatchDetail.as_view(), name="api-batch"),
    path("batches/<uuid:pk>/undo/", batch_api.BatchUndo.as_view(), name="api-batch-undo"),
    path("batches/<uuid:pk>/stop/", batch_api.BatchStop.as_view(), name="api-batch-stop"),
    path("label-sets/<int:pk>/export/", api.Export.as_view(), name="api-export"),
    path("label-sets/<int:pk>/views/", saved_view_api.Views.as_view(), name="api-views"),
    path("views/<int:pk>/", saved_view_api.ViewDetail.as_view(), name="api-view"),
    path(
        "label-sets/<int:pk>/statistics/",
        statistics_api.LabelSetStatistics.as_view(),
        name="api-statistics",
    ),
    path("runs/<int:pk>/", api.Run.as_view(), name="api-run"),
    path("runs/<int:pk>/cancel/", api.RunCancel.as_view(), name="api-run-cancel"),
    path("runs/<int:pk>/retry/", api.RunRetry.as_view(), name="api-run-retry"),
    path("images/<int:pk>/scores/", api.ImageScores.as_view(), name="api-image-scores"),
    path("images/<int:pk>/similar/", review_api.SimilarImages.as_view(), name="api-image-similar"),
    path("account/keys/", review_api.Keys.as_view(), name="api-keys"),
]
