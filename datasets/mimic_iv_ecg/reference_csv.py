"""Reads precomputed risks from the metadata table of the public PyTorch reference.

Columns: path, gender (F or M), age_at_ecg, anchor_age, Blood Pressure ("120/70"), rate_meta
(fraction of missing values), score2_risk. Recordings that it does not list have an unknown risk.
"""

import pathlib

import duckdb

from clef_jax import risk
from clef_jax.building import table
from clef_jax.errors import counted

COLUMNS = (
    "path",
    "gender",
    "age_at_ecg",
    "anchor_age",
    "Blood Pressure",
    "rate_meta",
    "score2_risk",
)
_SCALE = "SELECT coalesce(max(TRY_CAST(score2_risk AS DOUBLE)) > 1, false) FROM reference"
_CLINICAL = """
CREATE TABLE clinical AS
WITH stated AS (
  SELECT path, any_value(
    {'male': CASE upper(trim(gender)) WHEN 'M' THEN 1 WHEN 'F' THEN 0 END,
     'age': coalesce(TRY_CAST(age_at_ecg AS DOUBLE), TRY_CAST(anchor_age AS DOUBLE)),
     'sbp': TRY_CAST(regexp_extract("Blood Pressure", '^\\s*(\\d+)\\s*/\\s*\\d+\\s*$', 1)
       AS DOUBLE),
     'missing': TRY_CAST(rate_meta AS DOUBLE),
     'risk': TRY_CAST(score2_risk AS DOUBLE) / $unit}) AS row
  FROM reference GROUP BY path
)
SELECT line, path, subject, time, row.male AS male,
  CASE WHEN row.age BETWEEN 0 AND 120 THEN row.age END AS age_years,
  CASE WHEN row.sbp BETWEEN $low_sbp AND $high_sbp THEN row.sbp END AS sbp_mmhg,
  row.sbp NOT BETWEEN $low_sbp AND $high_sbp AS implausible, false AS censored, false AS masked,
  NULL AS smoker, NULL AS diabetes, NULL AS total_cholesterol_mmol_l, NULL AS hdl_mmol_l,
  CASE WHEN row.risk BETWEEN 0 AND 1 THEN row.risk END AS risk,
  CASE WHEN row.missing BETWEEN 0 AND 1 THEN 1 - row.missing ELSE 0 END AS completeness,
  row IS NOT NULL AS listed
FROM record LEFT JOIN stated USING (path)
"""


def load(database: duckdb.DuckDBPyConnection, path: pathlib.Path) -> dict[str, str]:
    """Creates the table `clinical` with risk and completeness; returns lines of the summary.

    The risk is interpreted as percent if any value is above 1, otherwise as a fraction.

    Raises:
        UserError: the file does not exist, or lacks a column.
    """
    table.create_view(database, "reference", path, COLUMNS)
    percent = database.execute(_SCALE).fetchall()[0][0]
    limits = risk.LIMITS["sbp_mmhg"]
    values = {"unit": 100.0 if percent else 1.0, "low_sbp": limits.low, "high_sbp": limits.high}
    database.execute(_CLINICAL, values)
    counts = (
        "SELECT count(*), count(*) FILTER (listed), count(risk), count(*) FILTER (implausible) "
        "FROM clinical"
    )
    total, listed, known, implausible = database.execute(counts).fetchall()[0]
    return {
        "values excluded as implausible": counted(implausible, "blood pressure"),
        "score2_risk was read as": "percent" if percent else "a fraction",
        "recordings in that table": f"{listed:,} of {total:,}, {known:,} with a risk",
    }
