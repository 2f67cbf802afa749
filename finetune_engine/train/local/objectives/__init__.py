"""What a training makes of its rows: imitate answers, prefer one to another, or take verdicts to heart."""
