"""Trains a small classifier from files in a mesh.  It knows nothing of meshfs: it opens paths.

usage: train.py PATIENTS_CSV MODEL_FILE
"""
import csv
import pickle
import sys

from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

source, target = sys.argv[1:3]
with open(source, newline="") as f:
    rows = list(csv.DictReader(f))
features = [c for c in rows[0] if c not in ("", "row", "pidnum", "cens", "days")]
X = [[float(r[c] or 0) for c in features] for r in rows]
y = [int(r["cens"]) for r in rows]
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(X_train, y_train)
score = roc_auc_score(y_test, model.predict_proba(X_test)[:, 1])
with open(target, "wb") as f:
    pickle.dump(model, f)
print(f"trained on {len(X_train)} patients with {len(features)} features: {', '.join(features)}")
print(f"area under the curve on {len(X_test)} others: {score:.2f}")
