"""What does quantization really cost? A model's variants against its unquantized form, on the same items.

report = workbench.quantization_report(outcomes, reference="smollm2-bf16", noise="smollm2-bf16-b1")
report.sentence       # 'Against smollm2-bf16: smollm2-w8a8 is free (…); smollm2-w4a16 costs 4.0 points (1.2 to 6.9).'
"""

from workbench.quantization.report import QuantizationReport, quantization_report

__all__ = ["QuantizationReport", "quantization_report"]
